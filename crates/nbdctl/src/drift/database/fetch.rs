//! The question, and its rows, by the driver of each database. In a transaction that may only read; SQLite's file is
//! opened so that it cannot be written.

use super::{Address, Kind, Secret};
use crate::drift::claims::Row;
use crate::text::counted;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{
    AssertSqlSafe, ColumnIndex, ConnectOptions, Connection, Database, Decode, Error, Executor, IntoArguments,
    Type, TypeInfo, ValueRef,
};
use std::future::Future;
use std::str::FromStr;
use std::time::Duration;

/// What is asked for.
const COLUMNS: &str = "the query is to yield a name and a path, and may yield a second path";

/// Why there are no rows.
#[derive(Debug)]
pub struct Trouble {
    /// In a sentence that may have anything in it.
    pub why: String,
    /// The tables are there, and a column has another name.
    pub unknown_column: bool,
}

/// A question.
struct Question<'a> {
    query: &'a str,
    /// It is ours, and yields what ours does.
    ours: bool,
}

/// Connects, asks, and goes.
pub fn rows(
    address: &Address,
    password: &Secret,
    query: &str,
    ours: bool,
    patience: Duration,
) -> Result<Vec<Row>, Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime to ask with: {error}"))?;
    let question = Question { query, ours };
    let asked = async {
        match address.kind() {
            Kind::MySql => mysql(address, password, &question).await,
            Kind::Postgres => postgres(address, password, &question, patience).await,
            Kind::Sqlite => sqlite(address, &question, patience).await,
        }
    };
    let rows = runtime.block_on(within(patience, asked));
    // A name that is still being looked up would be waited for.
    runtime.shutdown_background();
    rows
}

async fn within<T>(
    patience: Duration,
    asked: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    let late = || Err(Trouble::from(format!("no answer within {patience:?}")));
    tokio::time::timeout(patience, asked).await.unwrap_or_else(|_| late())
}

async fn mysql(address: &Address, password: &Secret, question: &Question<'_>) -> Result<Vec<Row>, Trouble> {
    let mut options = MySqlConnectOptions::from_str(address.url()).map_err(told)?;
    if let Some(password) = password.reveal() {
        options = options.password(password);
    }
    let connection = options.connect().await.map_err(told)?;
    ask(connection, "START TRANSACTION READ ONLY", question).await
}

async fn postgres(
    address: &Address,
    password: &Secret,
    question: &Question<'_>,
    patience: Duration,
) -> Result<Vec<Row>, Trouble> {
    let mut options = PgConnectOptions::from_str(address.url()).map_err(told)?;
    if let Some(password) = password.reveal() {
        options = options.password(password);
    }
    // The server gives up when we do.
    let limit = patience.as_millis().max(1).to_string();
    options = options.options([("statement_timeout", limit.as_str()), ("lock_timeout", limit.as_str())]);
    let connection = options.connect().await.map_err(told)?;
    ask(connection, "BEGIN READ ONLY", question).await
}

async fn sqlite(address: &Address, question: &Question<'_>, patience: Duration) -> Result<Vec<Row>, Trouble> {
    let options = SqliteConnectOptions::from_str(address.url()).map_err(told)?;
    let options = options.read_only(true).create_if_missing(false).busy_timeout(patience);
    let connection = options.connect().await.map_err(told)?;
    ask(connection, "BEGIN", question).await
}

async fn ask<C, D>(
    mut connection: C,
    begin: &'static str,
    question: &Question<'_>,
) -> Result<Vec<Row>, Trouble>
where
    C: Connection<Database = D>,
    D: Database<Connection = C>,
    for<'c> &'c mut C: Executor<'c, Database = D>,
    D::Arguments: IntoArguments<D>,
    usize: ColumnIndex<D::Row>,
    for<'r> String: Decode<'r, D> + Type<D>,
    for<'r> Vec<u8>: Decode<'r, D> + Type<D>,
{
    let mut transaction = connection.begin_with(begin).await.map_err(told)?;
    // The operator's own question, on a connection that may only read.
    let asked = sqlx::query::<D>(AssertSqlSafe(question.query.to_owned()));
    let found = asked.fetch_all(&mut *transaction).await.map_err(told)?;
    transaction.rollback().await.map_err(told)?;
    let rows = found.iter().map(|found| row(found, question.ours)).collect::<Result<_, String>>();
    // Whether it hears that we go is its own concern.
    let _ = connection.close().await;
    Ok(rows?)
}

fn row<R: sqlx::Row>(found: &R, ours: bool) -> Result<Row, String>
where
    usize: ColumnIndex<R>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
{
    if !ours && !(2..=3).contains(&found.len()) {
        let columns = counted(found.len() as u64, "column", "columns");
        return Err(format!("the query yields {columns}: {COLUMNS}"));
    }
    let name = text(found, 0)?.filter(|name| ours || !name.is_empty());
    let name = name.ok_or_else(|| format!("the query yields a row without a name: {COLUMNS}"))?;
    let other = if found.len() > 2 { text(found, 2)? } else { None };
    let doubt = if ours { text(found, 3)? } else { None };
    Ok(Row { name, path: text(found, 1)?, other, doubt })
}

/// A text, also where the database calls it bytes.
fn text<R: sqlx::Row>(found: &R, at: usize) -> Result<Option<String>, String>
where
    usize: ColumnIndex<R>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
{
    if let Ok(text) = found.try_get::<Option<String>, _>(at) {
        return Ok(text);
    }
    let bytes = found.try_get::<Option<Vec<u8>>, _>(at).ok();
    let text = bytes.and_then(|bytes| bytes.map(String::from_utf8).transpose().ok());
    text.ok_or_else(|| {
        let kind = found.try_get_raw(at).map(|value| value.type_info().name().to_owned());
        let kind = kind.unwrap_or_else(|_| "of a type that is not known".into());
        format!("column {} of the query is {kind} and no text: cast it in the query", at + 1)
    })
}

impl From<String> for Trouble {
    fn from(why: String) -> Self {
        Self { why, unknown_column: false }
    }
}

/// What a driver complains of, in one sentence.
fn told(error: Error) -> Trouble {
    match &error {
        Error::Database(error) => {
            let why = error.message().to_owned();
            // SQLSTATE of MariaDB and of PostgreSQL; SQLite has words only.
            let code = error.code().is_some_and(|code| ["42S22", "42703"].contains(&&*code));
            let unknown_column = code || why.contains("no such column");
            Trouble { why, unknown_column }
        }
        Error::Io(error) => format!("no connection: {error}").into(),
        error => error.to_string().into(),
    }
}
