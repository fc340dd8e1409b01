/// The rules for invoices, as the config has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoicing {
    /// The organisation on invoices of single visitors. An invoice must have one.
    pub visitors: String,
    /// The VAT that prices include, in hundredths of a per cent. If `None`, invoices show no VAT line.
    pub vat: Option<u32>,
    /// The days to pay in, for an order without a date of its own.
    pub days: i64,
}
