//! What a stranger sends costs little, with every provider, and shuts nobody out.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use stagedoor_model::Timestamp;
use stagedoor_testkit::{
    SignedRequest, form_signed,
    samples::{self, Sample},
};
use stagedoor_tests::{hub::TestHub, profile, provider_harness::ProviderHarness, tamper::signed};

/// A head is cut at 16 kB.
const HEAD: usize = 14 * 1024;

/// One sample a provider that is taken as it is.
fn models() -> Vec<Sample> {
    let mut first = BTreeMap::new();
    for sample in samples::all().expect("samples").into_iter().filter(|one| !one.case.contains("confirmation")) {
        first.entry(sample.provider.clone()).or_insert(sample);
    }
    assert_eq!(first.keys().collect::<Vec<_>>(), profile::names());
    first.into_values().collect()
}

/// The time of the quickest of several refusals.
async fn refused_in(harness: &ProviderHarness, signed_request: &SignedRequest) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let began = Instant::now();
        let outcome = harness.take(signed_request).await;
        best = best.min(began.elapsed());
        assert!(
            outcome.events.is_empty() && outcome.status.is_client_error(),
            "{}: {}",
            signed_request.path,
            outcome.status
        );
    }
    best
}

#[tokio::test]
async fn however_many_signatures_are_offered_one_mac_is_made() {
    for sample in models() {
        let harness = ProviderHarness::of(&sample);
        let mut signed_request = signed(&sample, &harness.path, sample.body.clone());
        // Another body than the one that was signed: nothing fits.
        signed_request.body = [signed_request.body.clone(), vec![b' '; 400_000]].concat();
        signed_request.path = harness.path.clone();
        let one = refused_or_taken(&harness, &signed_request).await;
        let Some(one) = one else { continue };
        for (at, (name, value)) in signed_request.headers.clone().into_iter().enumerate() {
            if name.eq_ignore_ascii_case("content-type") || value.is_empty() {
                continue;
            }
            // The whole value again and again, and only what follows its first mark: `t=1,v1=a,v1=a…`, `v1,a v1,a…`.
            let last = value.rsplit(',').next().unwrap_or(&value).to_owned();
            for (part, between) in
                [(value.as_str(), ","), (value.as_str(), " "), (last.as_str(), ","), ("v1,YWJj", " ")]
            {
                let more = (HEAD - value.len()) / (part.len() + between.len());
                let many = format!("{value}{}", format!("{between}{part}").repeat(more));
                let mut hostile = signed_request.clone();
                hostile.headers[at].1 = many;
                let time = refused_in(&harness, &hostile).await;
                // A machine that does much else is slower now and then; a MAC for each of hundreds is slower always.
                let most = one * 15 + Duration::from_millis(50);
                assert!(time < most, "{} {name}: {time:?} for {more} signatures, {one:?} for one", sample.provider);
            }
        }
    }
}

/// How long the refusal of this takes. `None` where it is no stranger's: another body under the same token, say.
async fn refused_or_taken(harness: &ProviderHarness, signed_request: &SignedRequest) -> Option<Duration> {
    let outcome = harness.take(signed_request).await;
    if !outcome.status.is_client_error() {
        return None;
    }
    Some(refused_in(harness, signed_request).await)
}

#[tokio::test]
async fn a_bomb_of_brackets_or_pairs_is_refused_before_anything_is_made_of_it() {
    let bombs = [
        b"a[][][][][][][]&".repeat(44_000),
        b"a%5B%5D%5b%5d[][][][][]&".repeat(29_000),
        b"a&".repeat(350_000),
        (0..40_000).map(|n| format!("{n}[{n}]=&")).collect::<String>().into_bytes(),
    ];
    let mut forms = 0;
    for sample in models() {
        let harness = ProviderHarness::of(&sample);
        let is_form = sample.headers.iter().any(|(_, value)| value.contains("x-www-form"));
        forms += usize::from(is_form);
        for bomb in &bombs {
            // With the right path and headers: one delivery that was seen tells both.
            let mut signed_request = sample.signed_request(&harness.path);
            signed_request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
            signed_request = signed_request.header("content-type", "application/x-www-form-urlencoded");
            signed_request.body.clone_from(bomb);
            let began = Instant::now();
            let outcome = harness.take(&signed_request).await;
            let expected = if is_form { &[400][..] } else { &[400, 401, 415] };
            assert!(expected.contains(&outcome.status.as_u16()), "{}: {}", sample.provider, outcome.status);
            assert!(began.elapsed() < Duration::from_secs(5), "{}: {:?}", sample.provider, began.elapsed());
        }
    }
    assert!(forms >= 5, "{forms} providers send forms");
}

#[tokio::test]
async fn nothing_is_inflated_for_who_shows_no_secret_and_no_signature() {
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&vec![b' '; 8 << 20]).expect("packed");
    let bomb = gzip.finish().expect("packed");
    // Their proof stands in the body, or in a field of it.
    let by_head = |one: &Sample| {
        let proof = &profile::of(&one.provider).proof;
        !proof.is_in_body() && !proof.elsewhere
    };
    for sample in models().into_iter().filter(by_head) {
        let harness = ProviderHarness::of(&sample);
        let mut signed_request = sample.signed_request(&harness.path).header("content-encoding", "gzip");
        signed_request.path = format!("{}/wrong-secret", harness.path);
        signed_request
            .headers
            .retain(|(name, _)| name.starts_with("content-") || name.eq_ignore_ascii_case("content-type"));
        signed_request.body.clone_from(&bomb);
        let outcome = harness.take(&signed_request).await;
        // Inflated, it would be too large.
        assert_eq!(outcome.status, 401, "{}", sample.provider);
    }
}

#[tokio::test]
async fn a_managers_change_of_a_hundred_rows_is_no_bomb() {
    let sample = models().into_iter().find(|one| one.provider == "amocrm").expect("a sample");
    let harness = ProviderHarness::of(&sample);
    let mut body = String::from_utf8(sample.body.clone()).expect("text");
    for row in 0..100 {
        for field in 0..30 {
            body.push_str(&format!("&contacts[update][{}][custom_fields][{field}][values][0][value]=x", 1000 + row));
        }
    }
    let outcome =
        harness.take(&SignedRequest { body: body.into_bytes(), ..sample.signed_request(&harness.path) }).await;
    assert_eq!(outcome.status, 200);
    assert!(!outcome.events.is_empty());
}

#[tokio::test]
async fn what_strangers_send_takes_nothing_of_the_rate_of_who_is_believed() {
    let mut source = stagedoor_tests::provider_harness::source("form", "generic-source-secret");
    source.rate = 1;
    let now: Timestamp = "2027-01-15T12:00:00Z".parse().expect("a time");
    let harness = ProviderHarness::open(source, now);
    for _ in 0..20 {
        let junk = SignedRequest::new(&harness.path, "application/json", b"{}".to_vec());
        assert_eq!(harness.take(&junk).await.status, 401);
    }
    let mut statuses = Vec::new();
    for n in 0..20 {
        let lead = serde_json::json!({ "phone": "+79161234567" });
        let signed_request = form_signed(&harness.path, &lead, "generic-source-secret", &format!("n{n}"), now);
        statuses.push(harness.take(&signed_request).await.status.as_u16());
    }
    assert_eq!(statuses[0], 200, "{statuses:?}");
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_refused_often_is_told_to_wait_and_genuine_deliveries_are_taken_all_the_same() {
    let hub = TestHub::start().await;
    let http = stagedoor_tests::http();
    let url = format!("{}/website/site", hub.base);
    let (mut refused, mut slowed) = (0, 0);
    for n in 0..300 {
        let answer =
            http.post(&url).header("content-type", "application/json").body("{}").send().await.expect("an answer");
        let wait = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        match (answer.status().as_u16(), wait) {
            (401, None) => refused += 1,
            (429, Some(seconds)) if seconds > 0 => slowed += 1,
            other => panic!("{other:?}"),
        }
        if n % 10 == 0 {
            let lead = serde_json::json!({ "phone": "+79161234567" });
            let signed_request =
                form_signed("/website/site", &lead, "generic-source-secret", &format!("g{n}"), hub.now());
            hub.take(&signed_request).await;
        }
    }
    assert!((60..150).contains(&refused) && slowed > 100, "{refused} refused, {slowed} slowed");
    let junk = SignedRequest::new("/website/nobody-there", "application/json", b"{}".to_vec());
    assert_eq!(hub.post(&junk).await.0, 429, "made-up names count too");
}
