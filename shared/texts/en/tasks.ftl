### Tasks for managers in the CRM.

# A conversation that needs a person.
tasks_doubt = Perhaps they want no more advertising: read what they wrote in { $channel }, and ask them there
tasks_loop_of_robots = Another robot seems to answer ours in { $channel }: the bot keeps silent. If it is a person, answer there
tasks_not_understood = The bot did not understand what they wrote in { $channel }: answer there (the conversation is in the notes)

# What somebody typed and nobody proved. $kind is phone, email and so on; $own and $claim are identifiers.
tasks_contested = They typed { $value } as their own { $kind }. It is another contact's, and nothing proves that it is theirs: tell them nothing of that contact. If the two are one person, join them: stagedoor join { $own } { $claim }
tasks_unread = They left a { $kind } that cannot be read: { $value }
tasks_company = A public form says that they ask for a company, and nothing proves it: { $company }

# The money of an order. Sums are written with their currency.
tasks_order = Order { $number } { $what }. Decide what is to be returned or asked for.
tasks_order_returned = Order { $number } { $what }, returned { $returned }. Decide what is to be returned or asked for.
tasks_more_back = got more back than was paid: received { $received }
tasks_cancelled_kept = was cancelled, and { $kept } came for it and did not go back
# $count is at least 2.
tasks_paid_twice = was paid twice: asked for { $asked }, received { $received } in { $count } payments
tasks_too_much = was paid with too much: asked for { $asked }, received { $received }
tasks_too_little = was paid with too little: asked for { $asked }, received { $received }
tasks_other_currency = Order { $number } costs { $asked }, and { $received } came for it in another currency. Decide what it settles.
tasks_other_currency_returned = Order { $number } costs { $asked }, and { $received } came for it in another currency, { $returned } went back. Decide what it settles.
tasks_dispute = The payer's bank asks { $money } back for order { $number }: answer the dispute at the provider.

# Money without an order. $moved is a list of tasks_came and tasks_went_back.
tasks_money_of_order = { $moved } for order { $name } of { $source }, which that shop has not told of.
tasks_money_of_payment = { $moved } for payment { $name } of { $source }, which that shop has not told of.
tasks_came = { $money } came
tasks_went_back = { $money } went back
