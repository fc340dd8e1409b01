use rusqlite::types::Type;
use stagedoor_engine::PersonId;

pub(crate) type Sql<T> = rusqlite::Result<T>;

pub(crate) fn person_id(text: &str) -> Sql<PersonId> {
    PersonId::parse(text).map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error.into()))
}
