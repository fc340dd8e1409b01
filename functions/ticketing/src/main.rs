//! `ticketing` as AWS runs it.

#[tokio::main]
async fn main() -> Result<(), stagedoor_aws::Error> {
    stagedoor_aws::http("ticketing", stagedoor_ticketing::PROVIDERS, stagedoor_ticketing::router).await
}
