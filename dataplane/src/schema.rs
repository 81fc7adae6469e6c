//! The JSON Schemas in `dataplane/schema/`, made from the types, and the check that they are up to date:
//! `UPDATE_SCHEMA=1 cargo test -p portcullis --lib schema`.

use std::path::Path;

use schemars::schema_for;
use serde_json::{Value, json};

use crate::events::Record;
use crate::explain::Explanation;
use crate::ike_status::IkeStatus;
use crate::status::Status;

/// Puts what `from` has under `key` into `to`.
fn adopt(to: &mut Value, from: &Value, key: &str) {
    let entries = from[key].as_object().cloned().unwrap_or_default();
    for (name, value) in entries {
        to[key][name] = value;
    }
}

/// What `portcullis show PART --json` prints, whatever the part: of all fields only the version is always there.
fn show() -> Value {
    let mut schema = schema_for!(Status).to_value();
    let ike = schema_for!(IkeStatus).to_value();
    for key in ["$defs", "properties"] {
        adopt(&mut schema, &ike, key);
    }
    schema["title"] = "portcullis show --json".into();
    schema["required"] = json!(["schema"]);
    schema["additionalProperties"] = false.into();
    let drops = json!({ "type": "array", "items": { "$ref": "#/$defs/DropStatus" } });
    schema["properties"]["control"] = drops.clone();
    let worker = json!({
        "type": "object", "required": ["worker", "drops"], "additionalProperties": false,
        "properties": { "worker": { "type": "integer", "minimum": 0 }, "drops": drops }
    });
    let whole = json!({ "$ref": "#/$defs/WorkerStatus" });
    schema["properties"]["workers"]["items"] = json!({ "anyOf": [whole, worker] });
    // A field that is not listed here is a mistake of this list.
    if let Some(definitions) = schema["$defs"].as_object_mut() {
        for definition in definitions
            .values_mut()
            .filter(|d| d["properties"].is_object())
        {
            definition["additionalProperties"] = false.into();
        }
    }
    schema
}

#[test]
fn schemas_are_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    for (name, schema) in [
        ("show", show()),
        ("explain", schema_for!(Explanation).to_value()),
        ("event", schema_for!(Record).to_value()),
    ] {
        let path = folder.join(format!("{name}.schema.json"));
        let text = serde_json::to_string_pretty(&schema).expect("JSON") + "\n";
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(&path, &text).expect("written");
        }
        let file = std::fs::read_to_string(&path).unwrap_or_default();
        let advice = "run: UPDATE_SCHEMA=1 cargo test -p portcullis --lib schema";
        assert!(file == text, "{}: {advice}", path.display());
    }
}
