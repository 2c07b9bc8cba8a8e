//! Where a database is.

use super::secret::Secret;

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// MariaDB and MySQL.
    MySql,
    /// PostgreSQL.
    Postgres,
    /// A file of SQLite.
    Sqlite,
}

/// A URL that may have a password in it.
pub struct Address {
    kind: Kind,
    url: String,
    shown: String,
    /// As it stands in the URL, and what is meant by it.
    passwords: Vec<Secret>,
}

impl Address {
    /// Reads it. What is wrong is said without the URL.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let kind = match scheme {
            "mysql" | "mariadb" => Kind::MySql,
            "postgres" | "postgresql" => Kind::Postgres,
            "sqlite" => Kind::Sqlite,
            _ => {
                return Err(
                    "--database: a URL that begins mysql://, postgres:// or sqlite:// is wanted".into()
                );
            }
        };
        if kind == Kind::Sqlite && !rest.starts_with('/') {
            return Err("--database: sqlite:// is followed by the absolute path of a file".into());
        }
        // A file has none.
        let passwords = if kind == Kind::Sqlite { Vec::new() } else { passwords_in(url) };
        let shown = if kind == Kind::Sqlite { rest.to_owned() } else { without_password(rest) };
        let shown = format!("{scheme}://{}", shown.split('?').next().unwrap_or_default());
        let passwords = passwords.into_iter().map(Secret::new).collect();
        Ok(Self { kind, url: url.into(), shown, passwords })
    }

    /// Which database it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// With the password, for the driver.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Without it, for people.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// It has one.
    pub fn has_password(&self) -> bool {
        !self.passwords.is_empty()
    }

    /// A text of somebody else's, with the password hidden wherever it stands.
    pub fn hidden_in(&self, text: &str) -> String {
        self.passwords.iter().fold(text.into(), |text: String, password| password.hidden_in(&text))
    }
}

/// Whatever may be a password in what may be a URL, as it stands there and as it is meant. Too much is better than too
/// little: whoever writes one with a slash or a quote in it has written no URL, and still it is his password.
pub fn passwords_in(url: &str) -> Vec<String> {
    let Some((_, rest)) = url.split_once("://") else { return Vec::new() };
    let user = split(rest).map(|(_, password, _)| password.to_owned());
    let parameters = rest.split_once('?').map(|(_, parameters)| parameters).unwrap_or_default();
    let parameters = parameters.split('&').filter_map(|one| one.strip_prefix("password="));
    let all = user.into_iter().chain(parameters.map(Into::into)).filter(|text| !text.is_empty());
    all.flat_map(|text| [text.clone(), decoded(&text)]).collect()
}

/// User, password, and all that stands behind them.
fn split(rest: &str) -> Option<(&str, &str, &str)> {
    let (user, host) = rest.rsplit_once('@')?;
    let (user, password) = user.split_once(':')?;
    Some((user, password, host))
}

fn without_password(rest: &str) -> String {
    split(rest).map_or_else(|| rest.into(), |(user, _, host)| format!("{user}:***@{host}"))
}

/// `%2F` is `/`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = digits.filter(|_| first == b'%').and_then(|two| u8::from_str_radix(two, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        let parse = |url: &str| Address::parse(url).expect("a URL");
        let address = parse("mysql://oma:p%2Fw%40d@db:3306/appliance?ssl-mode=DISABLED");
        assert_eq!((address.kind(), address.shown()), (Kind::MySql, "mysql://oma:***@db:3306/appliance"));
        assert!(address.has_password());
        assert_eq!(address.hidden_in("p/w@d and p%2Fw%40d"), "*** and ***");
        let address = parse("postgresql:///x?host=/run&password=s3cret");
        assert_eq!((address.kind(), address.shown()), (Kind::Postgres, "postgresql:///x"));
        assert_eq!(address.hidden_in("s3cret"), "***");
        let address = parse("sqlite:///var/lib/a:b@c.db");
        assert!(!address.has_password() && address.kind() == Kind::Sqlite);
        assert!(!parse("mariadb://oma@db/x").has_password());
        for password in ["s3c'ret", "s3c\"ret", "s3/c:r@e?t", "s3 c#ret"] {
            let address = parse(&format!("mysql://oma:{password}@db:3306/x"));
            assert_eq!(address.shown(), "mysql://oma:***@db:3306/x", "{password}");
            assert_eq!(address.hidden_in(&format!("say {password}")), "say ***");
        }
    }

    #[test]
    fn what_is_no_url_of_a_database_is_refused_without_being_shown() {
        for url in ["oma:s3cret@db", "http://oma:s3cret@db/x", "sqlite://s3cret.db", "", "sqlite::memory:"] {
            let why = Address::parse(url).err().expect("no such database");
            assert!(!why.contains("s3cret"), "{why}");
        }
    }
}
