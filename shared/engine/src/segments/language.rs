//! The rule language of segments (docs/segments.md): a sentence over what is known of somebody, read once and checked whole.
//!
//! ```text
//! rule  := and ("or" and)*          and := not ("and" not)*        not := "not" not | "(" rule ")" | "deal" "(" rule ")" | test
//! test  := fact [ "(" name ")" ] [ op value ]
//! op    := = | != | < | <= | > | >=   value := number | "text" | word | 3d (m, h, d, w)
//! ```

use std::fmt;

use stagedoor_model::Channel;

use crate::Stage;

/// A rule that was read and checked.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    All(Vec<Rule>),
    Any(Vec<Rule>),
    Not(Box<Rule>),
    /// One and the same deal fulfils it.
    Deal(Box<Rule>),
    Test(Test),
}

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

/// A number that somebody has.
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

/// A moment in somebody's time.
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

/// A text that somebody has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    City,
    Show,
    Campaign,
    /// A field of a form, or a campaign mark, such as `utm_source`.
    Label(String),
    Tag,
    /// The CRM's own name of the stage to which a manager moved the deal (Vtiger).
    CrmStage,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    Bought,
    PromoUnused,
    MovedByManager,
    Cancelled,
    Moved,
    OnAgain,
    /// The show is moved, and its new date will follow.
    Postponed,
    Consent(Channel),
    Withdrawn(Channel),
    /// A way on which they can be reached, such as `email` or `telegram`.
    Reached(String),
    /// A letter of this campaign, or any.
    Opened(Option<String>),
    Clicked(Option<String>),
    Received(Option<String>),
    Count(Count, Op, f64),
    Text(Text, bool, String),
    Stage(Op, Stage),
    /// Seconds since the moment.
    Age(Moment, Op, i64),
    /// Seconds until the moment.
    Until(Moment, Op, i64),
}

/// Which parts of what is known a rule looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facets(pub u8);

impl Facets {
    pub const DEALS: Self = Self(1);
    pub const LETTERS: Self = Self(2);
    pub const CONSENT: Self = Self(4);
    pub const CHATS: Self = Self(8);
    pub const LABELS: Self = Self(16);
    /// A moment in it passes by itself.
    pub const TIME: Self = Self(32);
    pub const ALL: Self = Self(63);

    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl Rule {
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
    /// Whether the rule asks for a fact, in any sense.
    pub fn asks(&self, fact: &Test) -> bool {
        match self {
            Rule::All(rules) | Rule::Any(rules) => rules.iter().any(|rule| rule.asks(fact)),
            Rule::Not(rule) | Rule::Deal(rule) => rule.asks(fact),
            Rule::Test(test) => test == fact,
        }
    }

    /// Whether it is about what became of a show: that it moved, or was called off. That it was not is no news.
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
            // An address that bounces is not reached.
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

/// What is wrong with a rule, and at which character (from 1).
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

/// In words for a manager who asks why.
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
