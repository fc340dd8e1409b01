//! The `ticketing` function on AWS.

#[tokio::main]
async fn main() -> Result<(), stagedoor_aws::Error> {
    stagedoor_aws::http("ticketing", stagedoor_ticketing::PROVIDERS, stagedoor_ticketing::router).await
}
