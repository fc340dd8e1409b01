//! Everything that names AWS: the queue on SQS, the store on DynamoDB, the functions under the Lambda runtime.

mod dynamo;
mod function;
mod queue;
mod store;
mod tables;

pub use function::{Error, Setting, batch, http, setting};
pub use queue::SqsQueue;
pub use store::DynamoStore;
pub use tables::create_tables;
