#[test] fn starts() { vaes_gcm::Kernel::new().unwrap(); }
