//! The `messaging` function on AWS.

#[tokio::main]
async fn main() -> Result<(), stagedoor_aws::Error> {
    stagedoor_aws::http("messaging", stagedoor_messaging::PROVIDERS, stagedoor_messaging::router).await
}
