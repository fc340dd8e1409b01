//! Tells people from robots that open a link. Messengers fetch previews of every link, mail systems look for malware,
//! and browsers fetch ahead. None of these is a click.

use http::{HeaderMap, header};

/// Parts of robots' user agents, in lower case.
///
/// Previews: developers.facebook.com/docs/sharing/webmasters/web-crawlers (facebookexternalhit, which WhatsApp's web
/// and Messenger use, and iMessage imitates); vk.com/dev/widget_share (vkShare); WhatsApp/2.x from phones.
/// core.telegram.org/bots/webhooks does not document it, but Telegram sends `TelegramBot (like TwitterBot)`.
///
/// Mail scanners come as headless browsers, office programs, HTTP libraries of their language, or under a name that
/// ends in `bot`.
const ROBOTS: [&str; 37] = [
    "facebookexternalhit",
    "facebookexternalua",
    "whatsapp/",
    "vkshare",
    "okhttp",
    "google-inspectiontool",
    "google-read-aloud",
    "googleimageproxy",
    "yandex.com/bots",
    "curl/",
    "wget/",
    "crawler",
    "spider",
    "preview",
    "headless",
    "phantomjs",
    "scrapy",
    "lighthouse",
    "barracuda",
    "proofpoint",
    "mimecast",
    "microsoft office",
    "microsoft outlook",
    "cfnetwork",
    "python-",
    "python/",
    "httpx",
    "aiohttp",
    "http-client",
    "httpclient",
    "http client",
    "java/",
    "axios",
    "node-fetch",
    "undici",
    "libwww",
    "guzzle",
];

/// True if this user agent belongs to a robot. An empty one does.
pub fn is_robots(agent: &str) -> bool {
    let agent = agent.to_lowercase();
    // Cubot is a maker of phones.
    let is_bot = agent.split(|c: char| !c.is_alphanumeric()).any(|word| word.ends_with("bot") && word != "cubot");
    agent.is_empty() || is_bot || ROBOTS.iter().any(|robot| agent.contains(robot))
}

/// True for a request without a user agent, with a robot's, or fetched ahead of a person who may never come.
pub fn is_robot(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_lowercase();
    let agent = text(header::USER_AGENT.as_str());
    // w3c.github.io/resource-hints: Sec-Purpose; older ones are Chrome's, Firefox's and Safari's.
    let ahead = ["sec-purpose", "purpose", "x-purpose", "x-moz"];
    let ahead =
        ahead.iter().any(|name| ["prefetch", "prerender", "preview"].iter().any(|word| text(name).contains(word)));
    ahead || is_robots(&agent)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn opened_by(agent: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_str(agent).expect("text"));
        is_robot(&headers)
    }

    #[test]
    fn previews_and_scripts_are_robots_and_phones_are_not() {
        for robot in [
            "TelegramBot (like TwitterBot)",
            "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
            "facebookexternalhit/1.1 Facebot Twitterbot/1.0",
            "WhatsApp/2.23.20.0 A",
            "Mozilla/5.0 (compatible; vkShare; +http://vk.com/dev/Share)",
            "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
            "curl/8.5.0",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/130.0.0.0 Safari/537.36",
            "Mozilla/5.0 (compatible; MicrosoftPreview/2.0; +https://aka.ms/MicrosoftPreview)",
            "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.17928; Pro)",
            "Viber/22.5.0.4 CFNetwork/1498.700.2 Darwin/23.6.0",
            "python-httpx/0.27.2",
            "Apache-HttpClient/4.5.14 (Java/17.0.9)",
            "Barracuda Sentinel (EE)",
            "SomebodysNewBot/1.0 (+https://example.com)",
            "",
        ] {
            assert!(opened_by(robot), "{robot}");
        }
        for person in [
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
            "Mozilla/5.0 (Linux; Android 13; CUBOT P80) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
            "Mozilla/5.0 (Linux; Android 12; SM-A525F; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/125.0 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/466.0;]",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) YaBrowser/24.4.0 Safari/537.36",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Outlook-iOS/2.0",
        ] {
            assert!(!opened_by(person), "{person}");
        }
    }

    #[test]
    fn what_a_browser_fetches_ahead_is_no_click() {
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_static("Mozilla/5.0 (Windows NT 10.0)"));
        headers.insert("sec-purpose", HeaderValue::from_static("prefetch;prerender"));
        assert!(is_robot(&headers));
    }
}
