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

    /// An export, and its volume that is attached to the appliance.
    fn add(&self, name: &str, path: &str) {
        self.add_mapped(name, path, path, "oma");
    }

    /// An export with its volume's mapping: `mode` is `oma`, `failover`, or empty for none.
    fn add_mapped(&self, name: &str, path: &str, mapped: &str, mode: &str) {
        let volume = format!("volume-of-{name}");
        let mut sql = format!(
            "INSERT INTO nbd_exports (id, export_name, {}, device_path, port, status) VALUES \
             ('{name}', '{name}', '{volume}', '{path}', 10809, 'active');",
            self.volume_column()
        );
        if !mode.is_empty() {
            sql += &mapping(&volume, mapped, mode);
        }
        self.run(&sql);
    }

    /// What the column of an export's volume is called.
    fn volume_column(&self) -> &'static str {
        if self.is_renamed() { "volume_uuid" } else { "volume_id" }
    }

    /// As in an older form of the tables.
    fn is_renamed(&self) -> bool;

    /// From now on.
    fn rename(&mut self);
}

/// A volume that is attached.
pub fn mapping(volume: &str, path: &str, mode: &str) -> String {
    format!(
        "INSERT INTO device_mappings (volume_uuid, device_path, operation_mode) VALUES \
         ('{volume}', '{path}', '{mode}');"
    )
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
