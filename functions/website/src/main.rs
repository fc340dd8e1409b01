//! The `website` function on AWS.

#[tokio::main]
async fn main() -> Result<(), stagedoor_aws::Error> {
    stagedoor_aws::http("website", stagedoor_website::PROVIDERS, stagedoor_website::router).await
}
