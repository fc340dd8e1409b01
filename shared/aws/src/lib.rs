//! Everything specific to AWS: the queue on SQS, the store on DynamoDB, the functions under the Lambda runtime.

mod context;
mod dynamo;
mod function;
mod metrics;
#[cfg(feature = "operator")]
mod oldest;
#[cfg(feature = "operator")]
mod operator;
mod queue;
mod secrets;
mod store;
mod tables;

pub use aws_config::SdkConfig;
pub use context::{Error, FunctionContext, read_config, sdk, setting};
pub use function::{Consumer, consume, http, pages, start_logs};
pub use metrics::emit;
#[cfg(feature = "operator")]
pub use operator::{Deployment, deployment};
pub use queue::SqsQueue;
pub use stagedoor_config::Reading;
pub use store::{DynamoStore, Retention};
pub use tables::create_tables;
