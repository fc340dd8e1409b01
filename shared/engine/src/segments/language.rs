//! The rule language of segments (docs/segments.md): a condition on what is known of a person. A rule is parsed once
//! and checked as a whole.
//!
//! ```text
//! rule  := and ("or" and)*          and := not ("and" not)*        not := "not" not | "(" rule ")" | "deal" "(" rule ")" | test
//! test  := fact [ "(" name ")" ] [ op value ]
//! op    := = | != | < | <= | > | >=   value := number | "text" | word | 3d (m, h, d, w)
//! ```

use std::fmt;

use stagedoor_model::Channel;

use crate::Stage;

/// A parsed and checked rule.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// All rules are true.
    All(Vec<Rule>),
    /// At least one rule is true.
    Any(Vec<Rule>),
    /// The rule is not true.
    Not(Box<Rule>),
    /// At least one deal fulfils the whole rule.
    Deal(Box<Rule>),
    Test(Test),
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Op {
    /// Returns true if `left` compares to `right` in this way.
    pub fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Eq => left == right,
            Self::Ne => left != right,
            Self::Lt => left < right,
            Self::Le => left <= right,
            Self::Gt => left > right,
            Self::Ge => left >= right,
        }
    }
}

/// A number of a person or a deal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    Orders,
    Visits,
    Letters,
    Tickets,
    Worth,
    /// The CRM's own id of the stage to which a manager moved the deal (amoCRM).
    CrmStage,
}

/// An instant of a person or a deal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    FirstSeen,
    LastSeen,
    Bought,
    LastVisit,
    LastOpened,
    PromoIssued,
    StageSince,
    StartsAt,
}

/// A text of a person or a deal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    City,
    Show,
    Campaign,
    /// A field of a form, or a campaign label such as `utm_source`.
    Label(String),
    Tag,
    /// The CRM's own name of the stage to which a manager moved the deal (Vtiger).
    CrmStage,
}

/// One test of a rule.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    Bought,
    PromoUnused,
    MovedByManager,
    Cancelled,
    Moved,
    OnAgain,
    /// The show was moved without a new date so far.
    Postponed,
    Consent(Channel),
    Withdrawn(Channel),
    /// The person can be reached this way, for example `email` or `telegram`.
    Reached(String),
    /// The person opened an e-mail of this campaign. `None`: of any.
    Opened(Option<String>),
    Clicked(Option<String>),
    Received(Option<String>),
    Count(Count, Op, f64),
    /// True: the texts are equal. False: they differ.
    Text(Text, bool, String),
    Stage(Op, Stage),
    /// Compares the seconds since the moment.
    Age(Moment, Op, i64),
    /// Compares the seconds until the moment.
    Until(Moment, Op, i64),
}

/// A set of the parts of [`Traits`](super::Traits) that a rule depends on, as bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facets(pub u8);

impl Facets {
    /// Deals, orders, purchases and promo codes.
    pub const DEALS: Self = Self(1);
    /// E-mails.
    pub const LETTERS: Self = Self(2);
    /// Consents and withdrawals.
    pub const CONSENT: Self = Self(4);
    /// Ways in which the person can be reached.
    pub const CHATS: Self = Self(8);
    /// Labels, and the times of the first and last sign of the person.
    pub const LABELS: Self = Self(16);
    /// The rule holds a moment or a count that changes with time.
    pub const TIME: Self = Self(32);
    /// Every part.
    pub const ALL: Self = Self(63);

    /// Returns the union of both sets.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns true if the sets have a common part.
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl Rule {
    /// Returns the parts that the rule depends on.
    pub fn facets(&self) -> Facets {
        match self {
            Rule::All(rules) | Rule::Any(rules) => {
                rules.iter().fold(Facets::default(), |all, rule| all.and(rule.facets()))
            }
            Rule::Not(rule) => rule.facets(),
            Rule::Deal(rule) => rule.facets().and(Facets::DEALS),
            Rule::Test(test) => test.facets(),
        }
    }
}

impl Rule {
    /// Returns true if the rule contains this test, negated or not.
    pub fn asks(&self, fact: &Test) -> bool {
        match self {
            Rule::All(rules) | Rule::Any(rules) => rules.iter().any(|rule| rule.asks(fact)),
            Rule::Not(rule) | Rule::Deal(rule) => rule.asks(fact),
            Rule::Test(test) => test == fact,
        }
    }

    /// Returns true if the rule asks for a change of a show: cancelled, moved, postponed or on again. A negated test
    /// does not count.
    pub fn is_about_changes(&self) -> bool {
        fn asks(rule: &Rule, negated: bool) -> bool {
            match rule {
                Rule::All(rules) | Rule::Any(rules) => rules.iter().any(|rule| asks(rule, negated)),
                Rule::Not(rule) => asks(rule, !negated),
                Rule::Deal(rule) => asks(rule, negated),
                Rule::Test(test) => {
                    !negated && matches!(test, Test::Cancelled | Test::Moved | Test::OnAgain | Test::Postponed)
                }
            }
        }
        asks(self, false)
    }
}

impl Test {
    fn facets(&self) -> Facets {
        match self {
            Test::Bought
            | Test::PromoUnused
            | Test::MovedByManager
            | Test::Cancelled
            | Test::Moved
            | Test::OnAgain
            | Test::Postponed
            | Test::Stage(..) => Facets::DEALS,
            Test::Text(Text::Label(_) | Text::Tag, ..) => Facets::LABELS,
            Test::Text(..) => Facets::DEALS,
            Test::Consent(_) | Test::Withdrawn(_) => Facets::CONSENT,
            // An address that bounces cannot be reached.
            Test::Reached(_) => Facets::CHATS.and(Facets::LETTERS).and(Facets::CONSENT),
            Test::Opened(_) | Test::Clicked(_) | Test::Received(_) => Facets::LETTERS,
            Test::Count(Count::Letters, ..) => Facets::LETTERS,
            Test::Count(Count::Visits, ..) => Facets::DEALS.and(Facets::TIME),
            Test::Count(..) => Facets::DEALS,
            Test::Age(moment, ..) | Test::Until(moment, ..) => Facets::TIME.and(match moment {
                Moment::LastOpened => Facets::LETTERS,
                Moment::FirstSeen | Moment::LastSeen => Facets::ALL,
                _ => Facets::DEALS,
            }),
        }
    }
}

/// An error in a rule, with its place as a character number from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    pub at: usize,
    pub what: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at character {}: {}", self.at, self.what)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eq => "=",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
        })
    }
}

/// Writes the test in words for a manager.
impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |campaign: &Option<String>| campaign.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
        let days = |span: i64| match span {
            span if span % 86_400 == 0 => format!("{} days", span / 86_400),
            span => format!("{} minutes", span / 60),
        };
        match self {
            Test::Bought => f.write_str("holds tickets"),
            Test::PromoUnused => f.write_str("has a promo code that is not used"),
            Test::MovedByManager => f.write_str("a manager moved the deal"),
            Test::Cancelled => f.write_str("the show is cancelled"),
            Test::Moved => f.write_str("the show was moved to another time"),
            Test::OnAgain => f.write_str("the show takes place after all as it was announced"),
            Test::Postponed => f.write_str("the show was moved, and its new date will follow"),
            Test::Consent(channel) => write!(f, "consents to {}", channel.name()),
            Test::Withdrawn(channel) => write!(f, "withdrew from {}", channel.name()),
            Test::Reached(way) => write!(f, "can be reached by {way}"),
            Test::Opened(campaign) => write!(f, "opened a letter{}", of(campaign)),
            Test::Clicked(campaign) => write!(f, "clicked in a letter{}", of(campaign)),
            Test::Received(campaign) => write!(f, "got a letter{}", of(campaign)),
            Test::Count(count, op, number) => write!(f, "{count:?} {op} {number}"),
            Test::Text(text, is, value) => write!(f, "{text:?} {} {value:?}", if *is { "=" } else { "!=" }),
            Test::Stage(op, stage) => write!(f, "stage {op} {}", stage.name()),
            Test::Age(moment, op, span) => write!(f, "time since {moment:?} {op} {}", days(*span)),
            Test::Until(moment, op, span) => write!(f, "time until {moment:?} {op} {}", days(*span)),
        }
    }
}
