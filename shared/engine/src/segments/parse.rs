//! A recursive-descent parser for rules. Each error has its place.

use stagedoor_model::{Channel, Messenger};

use super::language::{Count, Moment, Op, Rule, Test, Text, Wrong};
use crate::Stage;

/// Greatest depth of brackets. A deeper rule is unreadable, and could overflow the stack.
const DEPTH: usize = 32;
/// Greatest length of a rule, in characters.
const LENGTH: usize = 4_000;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Quoted(String),
    Number(f64),
    /// A time span in seconds.
    Span(i64),
    Op(Op),
    Open,
    Close,
}

type Placed = (usize, Token);
type Read<T> = Result<T, Wrong>;

fn wrong<T>(at: usize, what: impl Into<String>) -> Read<T> {
    Err(Wrong { at, what: what.into() })
}

/// Parses a rule about a person.
///
/// # Errors
/// Returns the first error with its place.
pub fn parse(text: &str) -> Read<Rule> {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() > LENGTH {
        return wrong(LENGTH, format!("a rule has at most {LENGTH} characters"));
    }
    let mut parser = Parser { tokens: tokens(&chars)?, next: 0, end: chars.len() + 1, depth: 0, in_deal: false };
    let rule = parser.any()?;
    match parser.take() {
        None => Ok(rule),
        Some((at, token)) => wrong(at, format!("expected \"and\", \"or\" or the end, found {}", said(&token))),
    }
}

fn said(token: &Token) -> String {
    match token {
        Token::Word(word) => format!("{word:?}"),
        Token::Quoted(text) => format!("the text {text:?}"),
        Token::Number(number) => format!("the number {number}"),
        Token::Span(_) => "a span of time".to_owned(),
        Token::Op(_) => "a comparison".to_owned(),
        Token::Open => "\"(\"".to_owned(),
        Token::Close => "\")\"".to_owned(),
    }
}

fn tokens(chars: &[char]) -> Read<Vec<Placed>> {
    let (mut all, mut at) = (Vec::new(), 0);
    let get = |at: usize| chars.get(at).copied();
    while let Some(c) = get(at) {
        let place = at + 1;
        let equals = get(at + 1) == Some('=');
        let (token, length) = match c {
            c if c.is_whitespace() => {
                at += 1;
                continue;
            }
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '=' => (Token::Op(Op::Eq), 1),
            '!' if equals => (Token::Op(Op::Ne), 2),
            '<' if equals => (Token::Op(Op::Le), 2),
            '>' if equals => (Token::Op(Op::Ge), 2),
            '<' => (Token::Op(Op::Lt), 1),
            '>' => (Token::Op(Op::Gt), 1),
            '"' => {
                let rest = chars.get(at + 1..).unwrap_or(&[]);
                let Some(length) = rest.iter().position(|c| *c == '"') else {
                    return wrong(place, "a text that is never closed by \"");
                };
                (Token::Quoted(rest.iter().take(length).collect()), length + 2)
            }
            c if c.is_alphanumeric() => {
                let rest = chars.get(at..).unwrap_or(&[]);
                let word: String =
                    rest.iter().take_while(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-')).collect();
                let length = word.chars().count();
                (word_or_number(word, place)?, length)
            }
            c => return wrong(place, format!("{c:?} means nothing here")),
        };
        all.push((place, token));
        at += length;
    }
    Ok(all)
}

fn word_or_number(word: String, at: usize) -> Read<Token> {
    if !word.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(Token::Word(word));
    }
    if let Ok(number) = word.parse::<f64>() {
        return Ok(Token::Number(number));
    }
    let unit = word.chars().last().unwrap_or(' ');
    let seconds = match unit {
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return wrong(at, format!("{word:?} is no number and no span; a span is 30m, 12h, 3d or 2w")),
    };
    match word.trim_end_matches(unit).parse::<i64>() {
        // A span has at most ten years.
        Ok(count) if count.saturating_mul(seconds) <= 315_360_000 => Ok(Token::Span(count * seconds)),
        _ => wrong(at, format!("{word:?} is no span of at most ten years; a span is 30m, 12h, 3d or 2w")),
    }
}

/// Parses a rule about one deal: every fact of a deal is that deal's.
///
/// # Errors
/// Returns the first error with its place.
pub fn parse_of_deal(text: &str) -> Read<Rule> {
    const OPEN: &str = "deal(";
    // The bracket closes on a line of its own, so that no part of the text joins it.
    let whole = parse(&format!("{OPEN}{text}\n)"));
    let moved =
        |wrong: Wrong| Wrong { at: wrong.at.saturating_sub(OPEN.len()).clamp(1, text.chars().count() + 1), ..wrong };
    match whole.map_err(moved)? {
        Rule::Deal(rule) => Ok(*rule),
        // The text was, for example, `a) or (b`.
        _ => wrong(1, "the brackets do not belong together"),
    }
}

struct Parser {
    tokens: Vec<Placed>,
    next: usize,
    end: usize,
    depth: usize,
    in_deal: bool,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn take(&mut self) -> Option<Placed> {
        let taken = self.tokens.get(self.next).cloned();
        self.next += 1;
        taken
    }

    fn takes(&mut self, word: &str) -> bool {
        let is = matches!(self.peek(), Some(Token::Word(found)) if found == word);
        self.next += usize::from(is);
        is
    }

    fn closed(&mut self) -> Read<()> {
        match self.take() {
            Some((_, Token::Close)) => Ok(()),
            Some((at, token)) => wrong(at, format!("expected \")\", found {}", said(&token))),
            None => wrong(self.end, "a \"(\" is never closed"),
        }
    }

    fn any(&mut self) -> Read<Rule> {
        self.depth += 1;
        if self.depth > DEPTH {
            return wrong(self.end, format!("more than {DEPTH} brackets within each other"));
        }
        let mut rules = vec![self.all()?];
        while self.takes("or") {
            rules.push(self.all()?);
        }
        self.depth -= 1;
        Ok(if rules.len() == 1 { rules.remove(0) } else { Rule::Any(rules) })
    }

    fn all(&mut self) -> Read<Rule> {
        let mut rules = vec![self.not()?];
        while self.takes("and") {
            rules.push(self.not()?);
        }
        Ok(if rules.len() == 1 { rules.remove(0) } else { Rule::All(rules) })
    }

    fn not(&mut self) -> Read<Rule> {
        let mut negated = false;
        while self.takes("not") {
            negated = !negated;
        }
        let rule = self.one()?;
        Ok(if negated { Rule::Not(Box::new(rule)) } else { rule })
    }

    fn one(&mut self) -> Read<Rule> {
        match self.take() {
            Some((_, Token::Open)) => {
                let rule = self.any()?;
                self.closed()?;
                Ok(rule)
            }
            Some((at, Token::Word(word))) if word == "deal" => {
                if self.in_deal || self.peek() != Some(&Token::Open) {
                    return wrong(at, "\"deal\" stands outside of other deals and is followed by \"(\"");
                }
                self.next += 1;
                self.in_deal = true;
                let rule = self.any()?;
                self.in_deal = false;
                self.closed()?;
                Ok(Rule::Deal(Box::new(rule)))
            }
            Some((at, Token::Word(word))) => {
                let is_deals = DEALS.contains(&word.as_str());
                let test = Rule::Test(self.test(at, &word)?);
                // A deal's fact outside `deal(…)` is true if any deal has it.
                Ok(if is_deals && !self.in_deal { Rule::Deal(Box::new(test)) } else { test })
            }
            Some((at, token)) => wrong(at, format!("expected a fact, found {}", said(&token))),
            None => wrong(self.end, "expected a fact; the rule breaks off"),
        }
    }

    fn name(&mut self) -> Read<Option<String>> {
        if self.peek() != Some(&Token::Open) {
            return Ok(None);
        }
        self.next += 1;
        let name = match self.take() {
            Some((_, Token::Word(text) | Token::Quoted(text))) => text,
            Some((at, token)) => return wrong(at, format!("expected a name, found {}", said(&token))),
            None => return wrong(self.end, "expected a name; the rule breaks off"),
        };
        self.closed()?;
        Ok(Some(name))
    }

    fn needs_name(&mut self, at: usize, fact: &str, known: &str) -> Read<String> {
        match self.name()? {
            Some(name) => Ok(name),
            None => wrong(at, format!("{fact} wants a name in brackets, such as {known}")),
        }
    }

    fn op(&mut self) -> Read<Op> {
        match self.take() {
            Some((_, Token::Op(op))) => Ok(op),
            Some((at, token)) => wrong(at, format!("expected = != < <= > or >=, found {}", said(&token))),
            None => wrong(self.end, "expected = != < <= > or >=; the rule breaks off"),
        }
    }

    fn number(&mut self) -> Read<f64> {
        match self.take() {
            Some((_, Token::Number(number))) => Ok(number),
            Some((at, token)) => wrong(at, format!("expected a number, found {}", said(&token))),
            None => wrong(self.end, "expected a number; the rule breaks off"),
        }
    }

    fn span(&mut self) -> Read<i64> {
        match self.take() {
            Some((_, Token::Span(seconds))) => Ok(seconds),
            Some((at, token)) => wrong(at, format!("expected a span such as 3d, found {}", said(&token))),
            None => wrong(self.end, "expected a span such as 3d; the rule breaks off"),
        }
    }

    fn text(&mut self, what: Text) -> Read<Test> {
        let (is, text) = (self.op()?, self.take());
        let is = match is {
            Op::Eq => true,
            Op::Ne => false,
            _ => return wrong(self.end, "a text is compared by = or !="),
        };
        match text {
            Some((_, Token::Quoted(text) | Token::Word(text))) => Ok(Test::Text(what, is, text)),
            Some((at, token)) => wrong(at, format!("expected a text, found {}", said(&token))),
            None => wrong(self.end, "expected a text; the rule breaks off"),
        }
    }

    /// Parses a stage of the CRM. amoCRM has numbers for stages, Vtiger has names.
    fn crm_stage(&mut self) -> Read<Test> {
        match (self.op()?, self.take()) {
            (op, Some((_, Token::Number(number)))) => Ok(Test::Count(Count::CrmStage, op, number)),
            (op @ (Op::Eq | Op::Ne), Some((_, Token::Quoted(name)))) => {
                Ok(Test::Text(Text::CrmStage, op == Op::Eq, name))
            }
            (_, Some((at, Token::Quoted(_)))) => wrong(at, "a stage's name is compared by = or !="),
            (_, Some((at, token))) => {
                wrong(at, format!("expected a stage's number, or its name in quotes, found {}", said(&token)))
            }
            (_, None) => wrong(self.end, "expected a stage's number or name; the rule breaks off"),
        }
    }

    fn test(&mut self, at: usize, fact: &str) -> Read<Test> {
        Ok(match fact {
            "bought" => Test::Bought,
            "promo_unused" => Test::PromoUnused,
            "moved_by_manager" => Test::MovedByManager,
            "cancelled" => Test::Cancelled,
            "moved" => Test::Moved,
            "on_again" => Test::OnAgain,
            "postponed" => Test::Postponed,
            "consent" => Test::Consent(self.channel(at, fact)?),
            "withdrawn" => Test::Withdrawn(self.channel(at, fact)?),
            "reached" => Test::Reached(self.way(at)?),
            "opened" => Test::Opened(self.name()?),
            "clicked" => Test::Clicked(self.name()?),
            "received" => Test::Received(self.name()?),
            "orders" => Test::Count(Count::Orders, self.op()?, self.number()?),
            "visits" => Test::Count(Count::Visits, self.op()?, self.number()?),
            "letters" => Test::Count(Count::Letters, self.op()?, self.number()?),
            "tickets" => Test::Count(Count::Tickets, self.op()?, self.number()?),
            "worth" => Test::Count(Count::Worth, self.op()?, self.number()?),
            "crm_stage" => self.crm_stage()?,
            "city" => self.text(Text::City)?,
            "show" => self.text(Text::Show)?,
            "campaign" => self.text(Text::Campaign)?,
            "tag" => self.text(Text::Tag)?,
            "label" => {
                let name = self.needs_name(at, fact, "label(utm_source)")?;
                self.text(Text::Label(name))?
            }
            "stage" => Test::Stage(self.op()?, self.stage()?),
            "age" => Test::Age(self.moment(at, fact)?, self.op()?, self.span()?),
            "until" => Test::Until(self.moment(at, fact)?, self.op()?, self.span()?),
            other => return wrong(at, format!("there is no fact {other:?}; there are {}", FACTS.join(", "))),
        })
    }

    fn channel(&mut self, at: usize, fact: &str) -> Read<Channel> {
        let name = self.needs_name(at, fact, &format!("{fact}(email)"))?;
        match Channel::ALL.into_iter().find(|channel| channel.name() == name) {
            Some(channel) => Ok(channel),
            None => wrong(at, format!("there is no channel {name:?}; there are email, sms, call, messenger")),
        }
    }

    fn way(&mut self, at: usize) -> Read<String> {
        let name = self.needs_name(at, "reached", "reached(telegram)")?;
        match ways().any(|way| way == name) {
            true => Ok(name),
            false => {
                let known: Vec<&str> = ways().collect();
                wrong(at, format!("there is no way {name:?}; there are {}", known.join(", ")))
            }
        }
    }

    fn stage(&mut self) -> Read<Stage> {
        match self.take() {
            Some((at, Token::Word(name) | Token::Quoted(name))) => match Stage::named(&name) {
                Some(stage) => Ok(stage),
                None => {
                    let known = Stage::ALL.map(Stage::name).join(", ");
                    wrong(at, format!("there is no stage {name:?}; there are {known}"))
                }
            },
            Some((at, token)) => wrong(at, format!("expected a stage, found {}", said(&token))),
            None => wrong(self.end, "expected a stage; the rule breaks off"),
        }
    }

    fn moment(&mut self, at: usize, fact: &str) -> Read<Moment> {
        let name = self.needs_name(at, fact, &format!("{fact}(stage_since)"))?;
        let Some((_, moment)) = MOMENTS.iter().find(|(known, _)| *known == name) else {
            let known = MOMENTS.map(|(name, _)| name).join(", ");
            return wrong(at, format!("there is no moment {name:?}; there are {known}"));
        };
        if matches!(moment, Moment::StageSince | Moment::StartsAt) && !self.in_deal {
            return wrong(at, format!("{name} is a deal's: write deal({fact}({name}) …)"));
        }
        Ok(*moment)
    }
}

/// Facts of a deal. Outside `deal(…)` they mean any deal, inside it the same deal.
const DEALS: [&str; 12] = [
    "city",
    "show",
    "campaign",
    "stage",
    "tickets",
    "worth",
    "crm_stage",
    "moved_by_manager",
    "cancelled",
    "moved",
    "on_again",
    "postponed",
];

const FACTS: [&str; 27] = [
    "bought",
    "orders",
    "visits",
    "promo_unused",
    "consent",
    "withdrawn",
    "reached",
    "received",
    "opened",
    "clicked",
    "letters",
    "tag",
    "label",
    "city",
    "show",
    "campaign",
    "stage",
    "tickets",
    "worth",
    "crm_stage",
    "moved_by_manager",
    "cancelled",
    "moved",
    "on_again",
    "postponed",
    "age",
    "until",
];

/// The ways in which a person can be reached.
pub fn ways() -> impl Iterator<Item = &'static str> {
    ["email", "sms"].into_iter().chain(Messenger::ALL.iter().map(|one| one.name()))
}

const MOMENTS: [(&str, Moment); 8] = [
    ("first_seen", Moment::FirstSeen),
    ("last_seen", Moment::LastSeen),
    ("bought", Moment::Bought),
    ("last_visit", Moment::LastVisit),
    ("last_opened", Moment::LastOpened),
    ("promo_issued", Moment::PromoIssued),
    ("stage_since", Moment::StageSince),
    ("starts_at", Moment::StartsAt),
];
