//! What a case needs of a database.

/// A database with the appliance's tables.
pub trait Database {
    /// As a program is told it, without the password.
    fn url(&self) -> String;
    /// The password; a file has none.
    fn password(&self) -> Option<&str>;
    /// Runs statements, as its owner.
    fn run(&self, sql: &str);
    /// The answer of one, as text.
    fn ask(&self, sql: &str) -> String;
    /// Takes it down.
    fn stop(&mut self);

    /// All tables empty.
    fn clear(&self) {
        self.run("DELETE FROM nbd_exports; DELETE FROM device_mappings;");
    }

    /// An export with its mapping: `mode` is `oma`, `failover`, or empty for none.
    fn add(&self, name: &str, path: &str, mapped: &str, mode: &str) {
        let volume = format!("volume-of-{name}");
        let mut sql = format!(
            "INSERT INTO nbd_exports (id, export_name, volume_id, device_path, port, status) VALUES \
             ('{name}', '{name}', '{volume}', '{path}', 10809, 'active');"
        );
        if !mode.is_empty() {
            sql += &format!(
                "INSERT INTO device_mappings (volume_uuid, device_path, operation_mode) VALUES \
                 ('{volume}', '{mapped}', '{mode}');"
            );
        }
        self.run(&sql);
    }
}

/// The tables. `status` and `mode` are types of columns.
pub fn tables(status: &str, mode: &str) -> String {
    format!(
        "CREATE TABLE nbd_exports (id VARCHAR(64) PRIMARY KEY, volume_id VARCHAR(64) NOT NULL, \
         export_name VARCHAR(255) NOT NULL UNIQUE, device_path VARCHAR(255) NOT NULL, \
         port INT NOT NULL DEFAULT 10809, status {status}, vm_disk_id INT NULL); \
         CREATE TABLE device_mappings (volume_uuid VARCHAR(64) NOT NULL UNIQUE, \
         device_path VARCHAR(191) NOT NULL UNIQUE, operation_mode {mode}, \
         persistent_device_name VARCHAR(255) NULL, symlink_path VARCHAR(255) NULL);"
    )
}
