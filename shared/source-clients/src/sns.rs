//! Amazon SNS: confirms the subscription that a topic offers. The URL is made of the topic's own ARN and never taken
//! from a message, because the sender of a message could choose it. Source:
//! docs.aws.amazon.com/sns/latest/api/API_ConfirmSubscription.html. The call is unsigned, like the link in the message.

use async_trait::async_trait;
use reqwest::StatusCode;
use stagedoor_ports::{PortError, Result, SnsConfirmer};
use url::Url;

use crate::http::client;

/// Client that confirms subscriptions.
pub struct Sns {
    /// Replaces SNS's own address in tests.
    base: Option<String>,
}

impl Sns {
    /// Creates the client. `base` replaces SNS's address in tests.
    pub fn new(base: Option<String>) -> Self {
        Self { base }
    }
}

/// The host for `arn:<partition>:sns:<region>:<account>:<name>`. Partition and region determine it.
fn host(topic: &str) -> Option<String> {
    let parts: Vec<&str> = topic.split(':').collect();
    let [arn, partition, service, region, _, _] = parts.as_slice() else { return None };
    let plain = region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if *arn != "arn" || *service != "sns" || region.is_empty() || !plain {
        return None;
    }
    match *partition {
        "aws" | "aws-us-gov" => Some(format!("https://sns.{region}.amazonaws.com/")),
        "aws-cn" => Some(format!("https://sns.{region}.amazonaws.com.cn/")),
        _ => None,
    }
}

#[async_trait]
impl SnsConfirmer for Sns {
    async fn confirm(&self, topic: &str, token: &str) -> Result<()> {
        let own = host(topic).ok_or_else(|| PortError::Fail("the topic's ARN is none".into()))?;
        let base = self.base.clone().unwrap_or(own);
        let query =
            [("Action", "ConfirmSubscription"), ("Version", "2010-03-31"), ("TopicArn", topic), ("Token", token)];
        let url =
            Url::parse_with_params(&base, query).map_err(|_| PortError::Fail("the topic has no address".into()))?;
        // Offers are rare, so the client is created here. Creating it would cost reading all certificates at every
        // start.
        let http = client().map_err(PortError::Fail)?;
        // The error's own text may hold the URL, and the URL the token.
        let answer = http.get(url).send().await.map_err(|_| PortError::Retry("SNS cannot be reached".into()))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            // The token is older than three days or was not issued by SNS.
            status @ (StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND) => {
                Err(PortError::Fail(format!("SNS does not take the token ({}); subscribe again", status.as_u16())))
            }
            status => Err(PortError::Retry(format!("SNS answered {}", status.as_u16()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn the_host_follows_from_the_topics_arn_alone() {
        let of = |arn: &str| host(arn);
        assert_eq!(
            of("arn:aws:sns:eu-central-1:123456789012:letters").as_deref(),
            Some("https://sns.eu-central-1.amazonaws.com/")
        );
        assert_eq!(of("arn:aws-cn:sns:cn-north-1:1:x").as_deref(), Some("https://sns.cn-north-1.amazonaws.com.cn/"));
        for bad in [
            "arn:aws:sns:evil.com/x:1:x",
            "arn:aws:sqs:eu-central-1:1:x",
            "https://evil.com",
            "arn:aws:sns::1:x",
            "arn:evil:sns:eu-central-1:1:x",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
