//! VTQL as recorded (05_query): a semicolon at the end, doubled apostrophes, no parentheses, a hundred rows.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::{
    Fields, Record, State,
    answer::{Answer, FORBIDDEN, Wrong, denied, wrong},
    modules::{Module, result_of},
    records::plain,
};

const PAGE: usize = 100;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Literal(String),
    Sign(String),
}

struct Condition {
    column: String,
    sign: String,
    values: Vec<String>,
    /// True if `or` joins this condition to the one before.
    or: bool,
}

struct Select {
    columns: Vec<String>,
    module: String,
    conditions: Vec<Condition>,
    order: Option<(String, bool)>,
    limit: (usize, usize),
}

fn syntax(token: &str, what: &str) -> Wrong {
    wrong("QUERY_SYNTAX_ERROR", format!("Syntax Error on line 1: token '{token}' Unexpected {what}"))
}

fn unknown() -> Wrong {
    wrong("INTERNAL_SERVER_ERROR", "Unknown Error while processing request")
}

fn tokens(text: &str) -> Result<Vec<Token>, Wrong> {
    let mut chars = text.chars().peekable();
    let mut all = Vec::new();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => {}
            '\'' => {
                let mut literal = String::new();
                loop {
                    match chars.next() {
                        Some('\'') if chars.peek() == Some(&'\'') => literal.extend(chars.next()),
                        Some('\'') => break,
                        Some(c) => literal.push(c),
                        None => return Err(syntax(&literal, "End of Input(0), expected one of: SEMICOLON")),
                    }
                }
                // An empty literal and double quotes end in an error without a reason.
                if literal.is_empty() {
                    return Err(unknown());
                }
                all.push(Token::Literal(literal));
            }
            '"' => return Err(unknown()),
            ',' | ';' | '(' | ')' => all.push(Token::Sign(c.to_string())),
            '<' | '>' | '=' | '!' => {
                let two = chars.next_if(|next| *next == '=').is_some();
                all.push(Token::Sign(if two { format!("{c}=") } else { c.to_string() }));
            }
            c => {
                let mut word = c.to_string();
                while let Some(next) = chars.next_if(|c| !c.is_whitespace() && !",;()'<>=!\"".contains(*c)) {
                    word.push(next);
                }
                all.push(Token::Word(word));
            }
        }
    }
    Ok(all)
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    last: String,
}

impl Parser {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.next();
        if let Some(token) = &token {
            self.last = match token {
                Token::Literal(text) => format!("'{text}'"),
                Token::Word(text) | Token::Sign(text) => text.clone(),
            };
        }
        token
    }

    fn is_word(&mut self, word: &str) -> bool {
        let next = matches!(self.tokens.peek(), Some(Token::Word(text)) if text.eq_ignore_ascii_case(word));
        if next {
            self.next();
        }
        next
    }

    fn word(&mut self) -> Result<String, Wrong> {
        match self.next() {
            Some(Token::Word(word)) => Ok(word),
            Some(Token::Sign(sign)) => Err(syntax(&sign, &format!("PARENOPEN({sign}), expected one of: COLUMNNAME"))),
            _ => Err(syntax(&self.last.clone(), "End of Input(0), expected one of: COLUMNNAME")),
        }
    }

    fn is_sign(&mut self, sign: &str) -> bool {
        let next = matches!(self.tokens.peek(), Some(Token::Sign(text)) if text == sign);
        if next {
            self.next();
        }
        next
    }

    fn value(&mut self) -> Result<String, Wrong> {
        match self.next() {
            Some(Token::Literal(text) | Token::Word(text)) => Ok(text),
            _ => Err(syntax(&self.last.clone(), "End of Input(0), expected one of: VALUE")),
        }
    }

    fn condition(&mut self, or: bool) -> Result<Condition, Wrong> {
        let column = self.word()?;
        let (sign, values) = match self.next() {
            Some(Token::Sign(sign)) if matches!(sign.as_str(), "=" | "!=" | "<" | ">" | "<=" | ">=") => {
                (sign, vec![self.value()?])
            }
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("like") => ("like".into(), vec![self.value()?]),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("in") => {
                let mut values = Vec::new();
                if self.is_sign("(") {
                    loop {
                        values.push(self.value()?);
                        if !self.is_sign(",") {
                            break;
                        }
                    }
                    self.is_sign(")");
                }
                ("in".into(), values)
            }
            Some(Token::Word(word)) => {
                let what = format!("VALUE({word}), expected one of: EQ,LT,GT,LTE,GTE,NE,IN,LIKE");
                return Err(syntax(&word, &what));
            }
            _ => return Err(syntax(&self.last.clone(), "End of Input(0), expected one of: EQ")),
        };
        Ok(Condition { column, sign, values, or })
    }

    fn select(mut self) -> Result<Select, Wrong> {
        match self.next() {
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("select") => {}
            Some(Token::Word(word)) => {
                return Err(syntax(&word, &format!("Unknown({word}), expected one of: SELECT")));
            }
            _ => return Err(syntax("", "End of Input(0), expected one of: SELECT")),
        }
        let mut columns = Vec::new();
        loop {
            let column = self.word()?;
            if column.eq_ignore_ascii_case("count") && self.is_sign("(") {
                self.word()?;
                self.is_sign(")");
                columns.push("count(*)".to_owned());
            } else {
                columns.push(column);
            }
            if !self.is_sign(",") {
                break;
            }
        }
        if !self.is_word("from") {
            return Err(syntax(&self.last.clone(), "End of Input(0), expected one of: FROM"));
        }
        let module = self.word()?;
        let mut select = Select { columns, module, conditions: vec![], order: None, limit: (0, PAGE) };
        if self.is_word("where") {
            select.conditions.push(self.condition(false)?);
            loop {
                let or = self.is_word("or");
                if !or && !self.is_word("and") {
                    break;
                }
                select.conditions.push(self.condition(or)?);
            }
        }
        if self.is_word("order") && self.is_word("by") {
            let column = self.word()?;
            let descending = self.is_word("desc");
            _ = !descending && self.is_word("asc");
            select.order = Some((column, descending));
        }
        if self.is_word("limit") {
            let number = |text: String| text.parse::<usize>().unwrap_or(0);
            let first = number(self.word()?);
            select.limit = if self.is_sign(",") { (first, number(self.word()?)) } else { (0, first) };
        }
        if !self.is_sign(";") {
            let last = self.last.clone();
            return Err(match self.next() {
                Some(Token::Word(word)) => syntax(&word, &format!("COLUMNNAME({word}), expected one of: SEMICOLON")),
                _ => syntax(&last, "End of Input(0), expected one of: SEMICOLON"),
            });
        }
        Ok(select)
    }
}

pub(crate) fn query(state: &mut State, user: u64, text: &str) -> Answer {
    let select = Parser { tokens: tokens(text)?.into_iter().peekable(), last: String::new() }.select()?;
    match select.module.as_str() {
        "Currency" => return Ok(result_of("currency")),
        "Groups" => return Ok(listed("groups", &select)),
        "Tax" => return Ok(result_of("tax")),
        "Users" => return Ok(users(state, &select)),
        "LineItem" => return Ok(lines(state, &select)),
        _ => {}
    }
    let module = state.modules.get(select.module.as_str()).filter(|_| !state.hidden(user, &select.module));
    let module = module.ok_or_else(|| denied(&format!("{FORBIDDEN} for name : {}", select.module)))?;
    // The server drops a count, because it removes rows without an id.
    if select.columns.iter().any(|column| column == "count(*)") {
        return Ok(json!([]));
    }
    let asked = select.columns.iter().filter(|column| *column != "*");
    let named = asked.chain(select.conditions.iter().map(|one| &one.column)).chain(select.order.iter().map(|(c, _)| c));
    for column in named {
        if module.field(column).is_none() {
            return Err(denied(&format!("Permission to access '.{column}.' attribute denied.")));
        }
    }
    for condition in &select.conditions {
        let reference = module.field(&condition.column).is_some_and(|field| field.kind == "reference");
        let id = |value: &String| {
            value.split_once('x').is_some_and(|(a, b)| a.parse::<u64>().is_ok() && b.parse::<u64>().is_ok())
        };
        if reference && !condition.values.iter().all(id) {
            return Err(wrong("INVALID_ID_ATTRIBUTE", "Id specified is incorrect"));
        }
    }
    let mut rows: Vec<(u64, &Record)> = state
        .records
        .iter()
        .filter(|(number, record)| record.module == module.name && !record.deleted && state.sees(user, **number))
        .filter(|(number, record)| fits(&select.conditions, module, **number, record))
        .map(|(number, record)| (*number, record))
        .collect();
    if let Some((column, descending)) = &select.order {
        rows.sort_by(|a, b| {
            let ordering = compare(module, column, &cell(module, column, a.0, a.1), &cell(module, column, b.0, b.1));
            if *descending { ordering.reverse() } else { ordering }
        });
    }
    let (from, most) = (select.limit.0, select.limit.1.min(PAGE));
    let rows =
        rows.into_iter().skip(from).take(most).map(|(number, record)| row(state, module, &select, number, record));
    Ok(rows.collect())
}

fn row(state: &State, module: &Module, select: &Select, number: u64, record: &Record) -> Value {
    let mut row = Fields::new();
    let all = select.columns.iter().any(|column| column == "*");
    let columns: Vec<&str> = match all {
        true => {
            module.fields.iter().map(|field| field.name.as_str()).filter(|name| *name != "id").chain(["id"]).collect()
        }
        false => select.columns.iter().map(String::as_str).collect(),
    };
    for column in columns {
        let value = match (column, module.field(column)) {
            ("id", _) => format!("{}x{number}", module.prefix).into(),
            (_, Some(field)) => state.shown(record, field, true),
            (_, None) => Value::Null,
        };
        row.insert(column.to_owned(), value);
    }
    Value::Object(row)
}

/// True if the record fulfils the conditions. `and` binds closer than `or`.
fn fits(conditions: &[Condition], module: &Module, number: u64, record: &Record) -> bool {
    let mut groups = vec![true];
    for condition in conditions {
        if condition.or {
            groups.push(true);
        }
        let holds = holds(condition, module, &cell(module, &condition.column, number, record));
        if let Some(group) = groups.last_mut() {
            *group = *group && holds;
        }
    }
    groups.into_iter().any(|group| group)
}

fn cell(module: &Module, column: &str, number: u64, record: &Record) -> String {
    if column == "id" { format!("{}x{number}", module.prefix) } else { plain(record.fields.get(column)) }
}

fn holds(condition: &Condition, module: &Module, cell: &str) -> bool {
    let first = condition.values.first().map(String::as_str).unwrap_or_default();
    let against = |value: &str| compare(module, &condition.column, cell, value);
    match condition.sign.as_str() {
        "=" => against(first) == Ordering::Equal,
        "!=" => against(first) != Ordering::Equal,
        "<" => against(first) == Ordering::Less,
        ">" => against(first) == Ordering::Greater,
        "<=" => against(first) != Ordering::Greater,
        ">=" => against(first) != Ordering::Less,
        "in" => condition.values.iter().any(|value| against(value) == Ordering::Equal),
        _ => like(&cell.to_lowercase(), &first.to_lowercase()),
    }
}

fn like(text: &str, pattern: &str) -> bool {
    match (pattern.strip_prefix('%'), pattern.strip_suffix('%')) {
        (Some(_), Some(_)) => text.contains(pattern.trim_matches('%')),
        (Some(end), None) => text.ends_with(end),
        (None, Some(begin)) => text.starts_with(begin),
        (None, None) => text == pattern,
    }
}

/// Compares two values. Case and trailing spaces do not count; ids and amounts compare as numbers.
fn compare(module: &Module, column: &str, a: &str, b: &str) -> Ordering {
    let number = |text: &str| text.rsplit('x').next().and_then(|part| part.parse::<f64>().ok());
    let numeric =
        column == "id" || module.field(column).is_some_and(|f| matches!(f.kind.as_str(), "currency" | "reference"));
    if numeric && let (Some(a), Some(b)) = (number(a), number(b)) {
        return a.total_cmp(&b);
    }
    a.trim_end().to_lowercase().cmp(&b.trim_end().to_lowercase())
}

fn users(state: &State, select: &Select) -> Value {
    let row = |one: &super::VtigerUser| {
        let status = if one.active { "Active" } else { "Inactive" };
        json!({ "id": format!("19x{}", one.number), "user_name": one.name, "email1": format!("{}@example.test", one.name),
            "status": status })
    };
    filtered(state.seed.users.iter().map(row).collect(), select)
}

fn listed(recorded: &str, select: &Select) -> Value {
    filtered(result_of(recorded).as_array().cloned().unwrap_or_default(), select)
}

fn lines(state: &State, select: &Select) -> Value {
    filtered(state.lines.values().flatten().cloned().map(Value::Object).collect(), select)
}

fn filtered(rows: Vec<Value>, select: &Select) -> Value {
    let holds = |row: &Value| {
        select.conditions.iter().all(|one| one.values.iter().any(|value| plain(row.get(&one.column)) == *value))
    };
    let all = select.columns.iter().any(|column| column == "*");
    let narrow = |row: Value| match row {
        Value::Object(fields) if !all => {
            fields.into_iter().filter(|(key, _)| select.columns.contains(key)).collect::<Fields>().into()
        }
        row => row,
    };
    rows.into_iter().filter(holds).map(narrow).collect()
}
