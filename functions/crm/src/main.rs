//! The `crm` function on AWS.

#[tokio::main]
async fn main() -> Result<(), stagedoor_aws::Error> {
    stagedoor_aws::http("crm", stagedoor_crm_hooks::PROVIDERS, stagedoor_crm_hooks::router).await
}
