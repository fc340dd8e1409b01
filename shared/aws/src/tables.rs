//! The tables, for tests and for deployments without the template.

use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
        ScalarAttributeType,
    },
};
use stagedoor_ports::{PortError, Result};

/// A table: name, key, and indexes as (name, key). A key is a partition attribute and perhaps a sort attribute, all of
/// them texts.
type Shape = (&'static str, &'static [&'static str], &'static [(&'static str, &'static [&'static str])]);

/// All tables of a hub.
pub const TABLES: [Shape; 6] = [
    ("journal", &["id"], &[("kept", &["kept", "seq"])]),
    ("people", &["id"], &[]),
    ("names", &["identifier"], &[]),
    ("links", &["person"], &[("parked", &["has_parked", "person"])]),
    ("misc", &["pk", "sk"], &[]),
    ("sent", &["id"], &[]),
];

fn schema(key: &[&str]) -> Result<Vec<KeySchemaElement>> {
    let kinds = [KeyType::Hash, KeyType::Range];
    let elements = key
        .iter()
        .zip(kinds)
        .map(|(name, kind)| KeySchemaElement::builder().attribute_name(*name).key_type(kind).build());
    elements.collect::<std::result::Result<_, _>>().map_err(|error| PortError::Fail(error.to_string()))
}

/// Creates every table under `prefix`, billed on demand.
///
/// # Errors
/// When one cannot be created.
pub async fn create_tables(config: &aws_config::SdkConfig, prefix: &str) -> Result<()> {
    let client = Client::new(config);
    let wrong = |error: &dyn std::error::Error| PortError::Fail(error.to_string());
    for (name, key, indexes) in TABLES {
        let mut attributes: Vec<&str> = key.iter().chain(indexes.iter().flat_map(|(_, key)| *key)).copied().collect();
        attributes.sort_unstable();
        attributes.dedup();
        let defined = attributes.into_iter().map(|name| {
            AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build()
        });
        let defined = defined.collect::<std::result::Result<Vec<_>, _>>().map_err(|error| wrong(&error))?;
        let mut request = client
            .create_table()
            .table_name(format!("{prefix}-{name}"))
            .billing_mode(BillingMode::PayPerRequest)
            .set_attribute_definitions(Some(defined))
            .set_key_schema(Some(schema(key)?));
        for (index, key) in indexes {
            let all = Projection::builder().projection_type(ProjectionType::KeysOnly).build();
            let built = GlobalSecondaryIndex::builder().index_name(*index).set_key_schema(Some(schema(key)?));
            request = request.global_secondary_indexes(built.projection(all).build().map_err(|error| wrong(&error))?);
        }
        request.send().await.map_err(|error| PortError::Fail(format!("{name}: {:?}", error.into_service_error())))?;
    }
    Ok(())
}
