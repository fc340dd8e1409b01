//! Records: what the server refuses, what it changes silently, and how it returns them.

use serde_json::{Value, json};

use super::{
    Fields, Record, State,
    answer::{Answer, FORBIDDEN, Wrong, denied, wrong},
    modules::{Field, Module},
};

/// A recording shows a last name cut to 80 characters (too_long_lastname). No other field has a recording.
const CUT: [(&str, usize); 1] = [("lastname", 80)];
const RESTRICTED: &str = "Sorry! Attempt to access restricted file.";

impl State {
    pub(crate) fn create(&mut self, user: u64, module: &str, given: Fields) -> Answer {
        let known = self.modules.contains_key(module) && !matches!(module, "LineItem" | "Tax");
        if !known || self.hidden(user, module) {
            return Err(denied(FORBIDDEN));
        }
        if !self.admin(user) && module == "Campaigns" {
            return Err(denied("Permission to write is denied"));
        }
        let lines = given.get("LineItems").and_then(Value::as_array).cloned().unwrap_or_default();
        let number = self.next;
        let Some(described) = self.modules.get(module) else { return Err(denied(FORBIDDEN)) };
        let name = described.name;
        self.mandatory(described, &given)?;
        let mut fields = self.taken(described, &given, true)?;
        if module == "Invoice" {
            if lines.is_empty() {
                return Err(wrong("MANDATORY_FIELDS_MISSING", "Mandatory Fields Missing.."));
            }
            if !self.seed.makes_invoices {
                return Err(wrong("INVALID_ID_ATTRIBUTE", "Id specified is incorrect"));
            }
        }
        self.unlike_others(module, None, &fields)?;
        let at = self.written_at();
        for (key, value) in [
            ("createdtime", at.clone()),
            ("modifiedtime", at),
            ("modifiedby", format!("19x{user}")),
            ("source", "WEBSERVICE".to_owned()),
        ] {
            fields.insert(key.to_owned(), value.into());
        }
        if name == "ModComments" {
            fields.insert("creator".into(), format!("19x{user}").into());
        }
        if name == "Calendar" {
            fields.insert("duration_hours".into(), "14".into());
            fields.insert("duration_minutes".into(), "0".into());
        }
        if let Some((field, begin)) = described.series {
            let count = self.numbers.entry(name).or_insert(0);
            *count += 1;
            fields.insert(field.to_owned(), format!("{begin}{count}").into());
        }
        self.records.insert(number, Record { module: name, fields, deleted: false });
        self.next += 1;
        self.run_workflows(number);
        if name == "Invoice" {
            return Ok(self.invoiced(number, lines));
        }
        self.told(number, true).ok_or(Wrong::Uncaught)
    }

    /// Takes the lines of an invoice and computes its sums.
    fn invoiced(&mut self, number: u64, mut lines: Vec<Value>) -> Value {
        if std::mem::take(&mut self.loses_a_line) {
            lines.pop();
        }
        let money = |line: &Value, key: &str| number_of(line.get(key).unwrap_or(&Value::Null));
        let (mut sum, mut taxes) = (0.0, 0.0);
        let mut kept = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            let net = money(line, "quantity") * money(line, "listprice");
            sum += net;
            taxes += net * ["tax1", "tax2", "tax3"].iter().map(|tax| money(line, tax)).sum::<f64>() / 100.0;
            let mut row = Fields::new();
            for (key, value) in [
                ("parent_id", format!("7x{number}")),
                ("productid", plain(line.get("productid"))),
                ("sequence_no", (index + 1).to_string()),
                ("quantity", format!("{:.3}", money(line, "quantity"))),
                ("listprice", format!("{:.8}", money(line, "listprice"))),
                ("discount_percent", "0.000".into()),
                ("discount_amount", "0.00000000".into()),
                ("comment", plain(line.get("comment"))),
                ("description", String::new()),
                ("incrementondel", "0".into()),
                ("tax1", format!("{:.3}", money(line, "tax1"))),
                ("tax2", format!("{:.3}", money(line, "tax2"))),
                ("tax3", format!("{:.3}", money(line, "tax3"))),
                ("image", String::new()),
                ("purchase_cost", "0.00000000".into()),
                ("margin", "0.00000000".into()),
                ("id", format!("33x{}", self.next_line)),
            ] {
                row.insert(key.to_owned(), value.into());
            }
            self.next_line += 1;
            kept.push(row);
        }
        self.lines.insert(number, kept);
        let answer_sums = json!({ "hdnSubTotal": sum, "pre_tax_total": sum, "hdnGrandTotal": sum + taxes });
        if let Some(record) = self.records.get_mut(&number) {
            let received = number_of(record.fields.get("received").unwrap_or(&Value::Null));
            for (key, value) in [
                ("hdnSubTotal", sum),
                ("pre_tax_total", sum),
                ("hdnGrandTotal", sum + taxes),
                ("balance", sum + taxes - received),
            ] {
                record.fields.insert(key.to_owned(), format!("{value:.8}").into());
            }
        }
        let mut told = self.told(number, true).unwrap_or_default();
        if let (Some(told), Some(sums)) = (told.as_object_mut(), answer_sums.as_object()) {
            // Only this answer holds them as numbers.
            told.extend(sums.clone());
            told.insert("LineItems".into(), self.lines_told(number));
        }
        told
    }

    pub(crate) fn lines_told(&self, number: u64) -> Value {
        let product = |line: &Fields| {
            let id = plain(line.get("productid"));
            let record = id.split_once('x').and_then(|(_, n)| n.parse().ok()).and_then(|n: u64| self.records.get(&n));
            record.map(|record| (plain(record.fields.get("servicename")), record.module))
        };
        let lines = self.lines.get(&number).into_iter().flatten().map(|line| {
            let (name, kind) = product(line).unwrap_or_default();
            let mut line = line.clone();
            line.insert("product_name".into(), name.into());
            line.insert("entity_type".into(), kind.into());
            line.insert("deleted".into(), "0".into());
            Value::Object(line)
        });
        lines.collect()
    }

    pub(crate) fn retrieve(&self, user: u64, id: &str) -> Answer {
        let number = self.number(id)?;
        self.may_use(user, number)?;
        let mut told = self.told(number, true).ok_or_else(|| denied(FORBIDDEN))?;
        if id.starts_with("7x")
            && let Some(told) = told.as_object_mut()
        {
            told.insert("LineItems".into(), self.lines_told(number));
        }
        Ok(told)
    }

    pub(crate) fn revise(&mut self, user: u64, id: &str, mut given: Fields) -> Answer {
        if id.is_empty() {
            return Err(wrong("INVALID_ID_ATTRIBUTE", "Id specified is incorrect"));
        }
        let number = self.number(id)?;
        self.may_use(user, number)?;
        given.remove("id");
        let Some(record) = self.records.get(&number) else { return Err(denied(FORBIDDEN)) };
        let Some(described) = self.modules.get(record.module) else { return Err(denied(FORBIDDEN)) };
        let lines = given.remove("LineItems");
        if lines.as_ref().and_then(Value::as_array).is_some_and(|lines| !lines.is_empty()) {
            // The server fails after it emptied the totals, and does not catch it (invoice_lines_revised).
            if let Some(record) = self.records.get_mut(&number) {
                for key in ["hdnSubTotal", "hdnGrandTotal", "pre_tax_total"] {
                    record.fields.insert(key.to_owned(), "0.00000000".into());
                }
            }
            return Err(Wrong::Uncaught);
        }
        let mut whole = record.fields.clone();
        whole.extend(given.clone());
        self.mandatory(described, &whole)?;
        let taken = self.taken(described, &given, false)?;
        let mut fields = record.fields.clone();
        fields.extend(taken);
        let module = record.module;
        self.unlike_others(module, Some(number), &fields)?;
        fields.insert("modifiedtime".into(), self.written_at().into());
        fields.insert("modifiedby".into(), format!("19x{user}").into());
        if let Some(record) = self.records.get_mut(&number) {
            record.fields = fields;
        }
        self.run_workflows(number);
        let mut told = self.told(number, true).ok_or(Wrong::Uncaught)?;
        if module == "Invoice"
            && let Some(told) = told.as_object_mut()
        {
            told.insert("LineItems".into(), self.lines_told(number));
            let first = self.lines.get(&number).and_then(|lines| lines.first()).cloned().unwrap_or_default();
            for key in [
                "productid",
                "quantity",
                "listprice",
                "comment",
                "discount_amount",
                "discount_percent",
                "tax1",
                "tax2",
                "tax3",
            ] {
                told.insert(key.to_owned(), first.get(key).cloned().unwrap_or_default());
            }
            for key in ["image", "purchase_cost", "margin"] {
                told.insert(key.to_owned(), Value::Null);
            }
            told.retain(|key, _| !key.starts_with("shipping_"));
        }
        Ok(told)
    }

    pub(crate) fn update(&mut self, user: u64, given: Fields) -> Answer {
        let id = plain(given.get("id"));
        let number = self.number(&id)?;
        self.may_see(user, number)?;
        // `update` demands every mandatory field, and leaves absent ones as they are (update_leaves_out_optional).
        let module = self.records.get(&number).map(|record| record.module).unwrap_or_default();
        if let Some(described) = self.modules.get(module) {
            self.mandatory(described, &given)?;
        }
        self.revise(user, &id, given)
    }

    pub(crate) fn delete(&mut self, user: u64, id: &str) -> Answer {
        let number = self.number(id)?;
        if !self.admin(user) {
            return Err(denied("Permission to read given object is denied"));
        }
        match self.records.get_mut(&number).filter(|record| !record.deleted) {
            Some(record) => record.deleted = true,
            None => return Err(denied(FORBIDDEN)),
        }
        Ok(json!({ "status": "successful" }))
    }

    /// The number in an id, if the id is well-formed.
    pub(crate) fn number(&self, id: &str) -> Result<u64, Wrong> {
        let Some((prefix, number)) = id.split_once('x') else {
            return Err(denied(&if id.parse::<u64>().is_ok() {
                FORBIDDEN.into()
            } else {
                format!("{FORBIDDEN} for id")
            }));
        };
        let known = self.modules.values().any(|module| module.prefix == prefix);
        let number: u64 = number.parse().map_err(|_| denied(&format!("{FORBIDDEN} for id")))?;
        if !known {
            return Err(denied(&format!("{FORBIDDEN} for id")));
        }
        match self.records.get(&number) {
            Some(record) if self.prefix(record.module) != prefix => {
                Err(wrong("INVALID_ID_ATTRIBUTE", "Id specified is incorrect"))
            }
            Some(record) if !record.deleted => Ok(number),
            _ => Err(denied(FORBIDDEN)),
        }
    }

    pub(crate) fn prefix(&self, module: &str) -> String {
        self.modules.get(module).map(|module| module.prefix.clone()).unwrap_or_default()
    }

    /// The server answers for a module outside the profile as for a missing record.
    fn may_use(&self, user: u64, number: u64) -> Result<(), Wrong> {
        let hidden = self.records.get(&number).is_some_and(|record| self.hidden(user, record.module));
        if hidden { Err(denied(FORBIDDEN)) } else { self.may_see(user, number) }
    }

    fn may_see(&self, user: u64, number: u64) -> Result<(), Wrong> {
        if self.sees(user, number) { Ok(()) } else { Err(denied("Permission to read given object is denied")) }
    }

    /// True if the user sees the record. Deals are private to their owners (recorded:
    /// limited_user_retrieve_private_deal).
    pub(crate) fn sees(&self, user: u64, number: u64) -> bool {
        let Some(record) = self.records.get(&number) else { return true };
        let own = plain(record.fields.get("assigned_user_id")) == format!("19x{user}");
        let hidden = self.private.contains(record.module) || self.hidden_records.contains(&number);
        !hidden && (self.admin(user) || own || record.module != "Potentials")
    }

    fn mandatory(&self, module: &Module, given: &Fields) -> Result<(), Wrong> {
        let empty = |field: &&Field| plain(given.get(&field.name)).is_empty();
        let first = module.fields.iter().filter(|field| field.mandatory).find(empty);
        // If the invoice has lines, their fields come with them.
        match first {
            Some(field) => Err(wrong("MANDATORY_FIELDS_MISSING", format!("{} does not have a value", field.name))),
            None => Ok(()),
        }
    }

    /// The values that the server keeps, as it changes them.
    fn taken(&self, module: &Module, given: &Fields, creating: bool) -> Result<Fields, Wrong> {
        let mut taken = Fields::new();
        for (key, value) in given {
            let own = matches!(key.as_str(), "createdtime" | "modifiedtime" | "modifiedby" | "source" | "id");
            let counted = module.series.is_some_and(|(field, _)| field == key);
            let Some(field) = module.field(key).filter(|_| !own && !counted) else { continue };
            taken.insert(key.clone(), self.as_kept(module.name, field, value)?);
        }
        if creating {
            let owner = plain(given.get("assigned_user_id"));
            let user = owner.strip_prefix("19x").and_then(|number| number.parse().ok());
            let known = user.is_some_and(|number: u64| self.seed.users.iter().any(|one| one.number == number));
            if !known && !owner.starts_with("20x") {
                return Err(Wrong::Sentence(RESTRICTED));
            }
        }
        Ok(taken)
    }

    fn as_kept(&self, module: &str, field: &Field, value: &Value) -> Result<Value, Wrong> {
        let text = plain(Some(value));
        Ok(match field.kind.as_str() {
            "reference" if !text.is_empty() => {
                let invalid = || wrong("REFERENCE_INVALID", format!("Invalid reference specified for {}", field.name));
                let (prefix, number) = text.split_once('x').ok_or_else(invalid)?;
                let fits = field.refers_to.iter().any(|name| {
                    self.prefix(name) == prefix
                        || (name == "Currency" && prefix == "21")
                        || (name == "Users" && prefix == "19")
                });
                if !fits {
                    return Err(invalid());
                }
                let there = number.parse().ok().and_then(|number: u64| self.records.get(&number));
                let there = there.is_some_and(|record| !record.deleted) || matches!(prefix, "21" | "19");
                match there {
                    true => text.into(),
                    false if module == "ModComments" => return Err(Wrong::Sentence(RESTRICTED)),
                    false => Value::Null,
                }
            }
            "reference" => Value::Null,
            "currency" => format!("{:.8}", number_of(value)).into(),
            "double" => format!("{:.3}", number_of(value)).into(),
            "boolean" => u8::from(matches!(text.as_str(), "1" | "true" | "on")).to_string().into(),
            "date" => date(&text).into(),
            // A picklist emptied by null reads as null (retrieve_related).
            "picklist" if value.is_null() => Value::Null,
            _ => held(&field.name, &text).into(),
        })
    }

    /// Checks unique fields. Several of them form one composite key; empty values never collide, and case is ignored
    /// (07_duplicates). The answer does not name the other record.
    fn unlike_others(&self, module: &str, own: Option<u64>, fields: &Fields) -> Result<(), Wrong> {
        let Some(unique) = self.unique.get(module).filter(|unique| !unique.is_empty()) else { return Ok(()) };
        let key = |fields: &Fields| -> Vec<String> {
            unique.iter().map(|field| plain(fields.get(field)).trim().to_lowercase()).collect()
        };
        let mine = key(fields);
        if mine.iter().any(String::is_empty) {
            return Ok(());
        }
        let same = self.records.iter().any(|(number, record)| {
            Some(*number) != own && record.module == module && !record.deleted && key(&record.fields) == mine
        });
        let duplicate = || Wrong::Error { code: 0.into(), message: "Duplicate(s) detected!".into() };
        if same { Err(duplicate()) } else { Ok(()) }
    }

    /// A record as create, revise and retrieve return it: every field, in the module's order.
    pub(crate) fn told(&self, number: u64, whole: bool) -> Option<Value> {
        let record = self.records.get(&number).filter(|record| !record.deleted)?;
        let module = self.modules.get(record.module)?;
        let mut told = Fields::new();
        for field in module.fields.iter().filter(|field| field.name != "id") {
            // The fields of lines come with the lines.
            let of_lines = matches!(
                field.name.as_str(),
                "productid"
                    | "quantity"
                    | "listprice"
                    | "comment"
                    | "discount_amount"
                    | "discount_percent"
                    | "tax1"
                    | "tax2"
                    | "tax3"
            );
            if of_lines && matches!(record.module, "Invoice" | "Services") {
                continue;
            }
            if field.name == "currency1" {
                told.insert(field.name.clone(), 0.into());
                told.insert("currency_id".into(), "21x1".into());
                continue;
            }
            told.insert(field.name.clone(), self.shown(record, field, false));
        }
        told.insert("id".into(), format!("{}x{number}", module.prefix).into());
        if whole {
            told.insert("label".into(), escaped(&label(record)).into());
        }
        Some(Value::Object(told))
    }

    /// The value of a field. With `queried` an empty date is `null`, otherwise `""` (recorded).
    pub(crate) fn shown(&self, record: &Record, field: &Field, queried: bool) -> Value {
        let empty_reference = if matches!(record.module, "Invoice" | "Calendar") { "".into() } else { Value::Null };
        match (record.fields.get(&field.name), field.kind.as_str()) {
            (None | Some(Value::Null), "reference") => empty_reference,
            (Some(Value::String(text)), "reference") => {
                // The referenced record may be deleted.
                let number = text.split_once('x').and_then(|(_, number)| number.parse::<u64>().ok());
                let gone = number.and_then(|number| self.records.get(&number)).is_some_and(|record| record.deleted);
                if gone { empty_reference } else { text.as_str().into() }
            }
            (Some(Value::String(text)), "date") if text.is_empty() && queried => Value::Null,
            (Some(Value::Null), _) if !queried => "".into(),
            (Some(value), _) => value.clone(),
            (None, "date") if queried => Value::Null,
            (None, "currency") => "0.00000000".into(),
            (None, "boolean" | "integer") => "0".into(),
            (None, "double") if matches!(field.name.as_str(), "hdnDiscountPercent") => "".into(),
            (None, "double") => "0.000".into(),
            (None, _) => "".into(),
        }
    }
}

pub(crate) fn label(record: &Record) -> String {
    let part = |key: &str| plain(record.fields.get(key));
    match record.module {
        "Contacts" | "Leads" => format!("{} {}", part("firstname"), part("lastname")).trim().to_owned(),
        "Potentials" => part("potentialname"),
        "Accounts" => part("accountname"),
        "Campaigns" => part("campaignname"),
        "Services" => part("servicename"),
        "ModComments" => part("commentcontent"),
        _ => part("subject"),
    }
}

pub(crate) fn plain(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A number as PHP reads it: the leading part of a text, else 0 ("5 400,50" is 5, "abc" is 0).
pub(crate) fn number_of(value: &Value) -> f64 {
    let text = plain(Some(value));
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(text.len());
    text.get(..end).and_then(|part| part.parse().ok()).unwrap_or(0.0)
}

fn date(text: &str) -> String {
    if let Some((year, rest)) = text.split_once('-')
        && year.len() == 4
        && rest.len() == 5
    {
        return text.to_owned();
    }
    let parts: Vec<&str> = text.split('.').collect();
    match parts.as_slice() {
        [day, month, year] if year.len() == 4 => format!("{year}-{month}-{day}"),
        _ => String::new(),
    }
}

/// A text as utf8mb3 stores it: each byte of a four-byte character becomes a question mark. A text with a script in
/// it is escaped throughout.
fn held(field: &str, text: &str) -> String {
    let text: String = text
        .chars()
        .flat_map(|c| {
            let wide = c as u32 > 0xFFFF;
            std::iter::repeat_n(if wide { '?' } else { c }, if wide { 4 } else { 1 })
        })
        .collect();
    let text = if text.to_lowercase().contains("<script") { escaped(&text) } else { text };
    match CUT.iter().find(|(name, _)| *name == field) {
        Some((_, length)) => text.chars().take(*length).collect(),
        None => text,
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The format of the server's times: `YYYY-MM-DD HH:MM:SS`, UTC.
pub(crate) fn clock(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    at.unwrap_or_default().strftime("%Y-%m-%d %H:%M:%S").to_string()
}
