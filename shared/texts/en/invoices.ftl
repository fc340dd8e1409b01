### Closing documents of orders: invoices, and the comments that stand for them.

# What a config without names calls the service of every line, and the organisation of single visitors.
invoices_service = Ticket
invoices_visitors = Private customers

# Lines that the shop's order does not have.
invoices_order = Order
invoices_discount = Discount
invoices_fees = Fees

invoices_subject = Order { $number }, { $key }
invoices_vat = VAT { $rate } % within: { $tax }
# Single payments. $day is a date such as 2026-11-12.
invoices_came = { $day } received { $money }
invoices_went_back = { $day } returned { $money }

# The comment that stands for a document. The hub reads the total and the sums again.
invoices_document = Closing document { $key } (order { $number })
invoices_total = Total { $money }
invoices_moved = Received { $received }, returned { $returned }: { $status }
invoices_created = Created
invoices_paid = Paid
invoices_cancelled = Cancel
