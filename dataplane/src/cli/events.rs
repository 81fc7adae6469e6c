//! `portcullis events` and `portcullis show events`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::fail;
use crate::events::Record;
use crate::socket;

/// How often a follower asks.
const ASK: Duration = Duration::from_millis(250);

/// Prints the latest events, and with `follow` those that come until it is interrupted.
pub(super) fn events(follow: bool, json: bool, socket: &Path) -> ExitCode {
    let mut after = 0;
    loop {
        let page = match socket::events(socket, after, after == 0) {
            Ok(page) => page,
            Err(error) => return fail(&error),
        };
        for record in &page.events {
            print(record, json);
            after = record.number;
        }
        if page.events.is_empty() {
            if !follow {
                return ExitCode::SUCCESS;
            }
            // A gateway that was started anew counts from 1.
            after = after.min(page.latest);
            std::thread::sleep(ASK);
        }
    }
}

fn print(record: &Record, json: bool) {
    match json {
        true => println!("{}", serde_json::to_string(record).unwrap_or_default()),
        false => {
            let severity = format!("{:?}", record.severity).to_uppercase();
            println!("{} {severity:>7} {}", record.time, record.line());
        }
    }
}
