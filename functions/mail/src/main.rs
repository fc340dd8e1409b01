//! The `mail` function on AWS.

#[tokio::main]
async fn main() -> Result<(), stagedoor_aws::Error> {
    stagedoor_aws::http("mail", stagedoor_mail::PROVIDERS, stagedoor_mail::router).await
}
