//! `messaging` as AWS runs it.

#[tokio::main]
async fn main() -> Result<(), stagedoor_aws::Error> {
    stagedoor_aws::http("messaging", stagedoor_messaging::PROVIDERS, stagedoor_messaging::router).await
}
