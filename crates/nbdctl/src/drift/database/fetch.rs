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

/// Connects, asks, and goes.
pub fn rows(
    address: &Address,
    password: &Secret,
    query: &str,
    patience: Duration,
) -> Result<Vec<Row>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime to ask with: {error}"))?;
    let asked = async {
        match address.kind() {
            Kind::MySql => mysql(address, password, query).await,
            Kind::Postgres => postgres(address, password, query, patience).await,
            Kind::Sqlite => sqlite(address, query, patience).await,
        }
    };
    let rows = runtime.block_on(within(patience, asked));
    // A name that is still being looked up would be waited for.
    runtime.shutdown_background();
    rows
}

async fn within<T>(patience: Duration, asked: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = || Err(format!("no answer within {patience:?}"));
    tokio::time::timeout(patience, asked).await.unwrap_or_else(|_| late())
}

async fn mysql(address: &Address, password: &Secret, query: &str) -> Result<Vec<Row>, String> {
    let mut options = MySqlConnectOptions::from_str(address.url()).map_err(|error| told(&error))?;
    if let Some(password) = password.reveal() {
        options = options.password(password);
    }
    let connection = options.connect().await.map_err(|error| told(&error))?;
    ask(connection, "START TRANSACTION READ ONLY", query).await
}

async fn postgres(
    address: &Address,
    password: &Secret,
    query: &str,
    patience: Duration,
) -> Result<Vec<Row>, String> {
    let mut options = PgConnectOptions::from_str(address.url()).map_err(|error| told(&error))?;
    if let Some(password) = password.reveal() {
        options = options.password(password);
    }
    // The server gives up when we do.
    let limit = patience.as_millis().max(1).to_string();
    options = options.options([("statement_timeout", limit.as_str()), ("lock_timeout", limit.as_str())]);
    let connection = options.connect().await.map_err(|error| told(&error))?;
    ask(connection, "BEGIN READ ONLY", query).await
}

async fn sqlite(address: &Address, query: &str, patience: Duration) -> Result<Vec<Row>, String> {
    let options = SqliteConnectOptions::from_str(address.url()).map_err(|error| told(&error))?;
    let options = options.read_only(true).create_if_missing(false).busy_timeout(patience);
    let connection = options.connect().await.map_err(|error| told(&error))?;
    ask(connection, "BEGIN", query).await
}

async fn ask<C, D>(mut connection: C, begin: &'static str, query: &str) -> Result<Vec<Row>, String>
where
    C: Connection<Database = D>,
    D: Database<Connection = C>,
    for<'c> &'c mut C: Executor<'c, Database = D>,
    D::Arguments: IntoArguments<D>,
    usize: ColumnIndex<D::Row>,
    for<'r> String: Decode<'r, D> + Type<D>,
    for<'r> Vec<u8>: Decode<'r, D> + Type<D>,
{
    let mut transaction = connection.begin_with(begin).await.map_err(|error| told(&error))?;
    // The operator's own question, on a connection that may only read.
    let question = sqlx::query::<D>(AssertSqlSafe(query.to_owned()));
    let found = question.fetch_all(&mut *transaction).await.map_err(|error| told(&error))?;
    transaction.rollback().await.map_err(|error| told(&error))?;
    let rows = found.iter().map(row).collect();
    // Whether it hears that we go is its own concern.
    let _ = connection.close().await;
    rows
}

fn row<R: sqlx::Row>(found: &R) -> Result<Row, String>
where
    usize: ColumnIndex<R>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
{
    if !(2..=3).contains(&found.len()) {
        let columns = counted(found.len() as u64, "column", "columns");
        return Err(format!("the query yields {columns}: {COLUMNS}"));
    }
    let name = text(found, 0)?.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| format!("the query yields a row without a name: {COLUMNS}"))?;
    let other = if found.len() > 2 { text(found, 2)? } else { None };
    Ok(Row { name, path: text(found, 1)?, other })
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

/// What a driver complains of, in one sentence.
fn told(error: &Error) -> String {
    match error {
        Error::Database(error) => error.message().into(),
        Error::Io(error) => format!("no connection: {error}"),
        error => error.to_string(),
    }
}
