### Pages of the console.

console_not_found = Not found

# The head of every page.
console_nav_waiting = Waiting
console_nav_parked = Parked
console_nav_unrecognized = Unrecognized
console_nav_report = Report

# The first page: its title and tiles.
console_home = What came and what became of it
console_tile_people =
    { $count ->
        [one] person
       *[other] people
    }
console_tile_deals =
    { $count ->
        [one] deal in the CRM
       *[other] deals in the CRM
    }
console_tile_events =
    { $count ->
        [one] event
       *[other] events
    }
console_tile_queue = in the queue
console_tile_waiting = waiting for the CRM
console_tile_parked = parked
console_tile_unrecognized = unrecognized
console_tile_dead_letters =
    { $count ->
        [one] dead letter
       *[other] dead letters
    }
console_alarms = Alarms
console_why = Why something waits
console_people =
    { $count ->
        [one] { $count } person
       *[other] { $count } people
    }
console_since = since
console_until = until at the latest
console_to_act = To act
console_zones = Zones of shows that are no IANA zones; the offset of the times is used, or the hub's zone
console_find_hint = A phone, an e-mail, or customer/qtickets:235
console_identifier = Identifier
console_find = Find
console_latest = Latest deliveries
console_nothing_came = Nothing came yet.
console_refused = Refused since the start

# One delivery.
console_person = person
console_show_changed = show changed
console_kept = kept as unrecognized
console_about_nobody = about nobody we know
console_contact = contact { $id }
console_deal = deal { $id }
console_not_in_crm = not in the CRM yet

# Lists.
console_waiting_title = Waiting for the CRM
console_waiting = People whose contact or deals in the CRM are not yet what they should be. They need no one: the hub tries on.
console_nobody_waits = Nobody waits.
console_without_name = without a name
console_parked_title = Parked
console_parked = Rows that the CRM refuses as they are. Each comes by itself again when its person changes; after the cause is mended in the CRM, try all again. Money that matches no order, or came in another currency, stands here until it does.
console_nothing_parked = Nothing is parked.
console_try_all = Try all again
console_unrecognized_title = Unrecognized
console_unrecognized = Authentic deliveries that no parser understood. They are kept whole; replay them after the parser has learned.
console_none = None.
console_replay = Replay

# The report.
console_report_title = Report
console_report_empty = No letters and no sales that are owed to any.
console_delivered = delivered
console_opened = opened
console_clicked = clicked
console_part = { $what } { $count } of { $all }
console_bounced = bounced { $count }
console_bought = bought { $count }
console_effects = What mailings did
console_effects_about = Of those who were written to, and of those who were held out, how many bought in the days after.
console_bought_of = bought { $count } of { $all }
console_as_csv = As CSV
console_effects_as_csv = What mailings did, as CSV

# One person.
console_in_crm = In the CRM
console_not_yet = not yet
console_phone = Phone
console_email = E-mail
console_kind = { $kind }
console_not_confirmed = not confirmed
console_id = Id
console_contact_refused = The CRM refuses the contact: { $reason }
console_contact_waits = The contact waits: { $reason }
console_deals = Deals
console_stage = { $stage }
console_refunded = (refunded { $sum })
console_show_cancelled = show cancelled
console_starts = starts
console_orders = orders { $orders }
console_deal_waits = It waits: { $reason }
console_in_segments = In
console_written = What they were written
console_held_out = held out
console_read = read
console_not_taken = not taken
console_timeline = Timeline
console_why_one = Why is this one person?
console_shares = shares { $what } with { $record }
console_first_record = the first record
console_apart = Kept apart by a guard
console_no_name = Without a name

# One event.
console_happened = Happened
console_folded = Folded
console_source = Source
console_human = Person
console_note = Note

# Answers to a wrong address.
console_no_identifier = That is no identifier. Try a phone, an e-mail, or kind:value such as customer/qtickets:235.
console_unknown_identifier = Nobody is known by this identifier.
console_no_person_id = That is no person's id.
console_unknown_person = Nobody has this id.
console_unknown_event = No event has this id.
