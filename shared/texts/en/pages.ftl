### Pages for fans: the messengers of a campaign, unsubscribing, confirming an address.

pages_choose = Choose a messenger, and the bot will send your promo code:
pages_personal = This link is yours alone: please do not forward it.
pages_this_language = In English

# The page before an action, and its button.
pages_unsubscribe_title = Unsubscribe from letters?
pages_unsubscribe = We shall send no more news and offers. Letters about your tickets will still come.
pages_unsubscribe_button = Unsubscribe
pages_confirm_title = Confirm your address
pages_confirm = Press the button, and we shall send our news to this address.
pages_confirm_button = Confirm

# The page after an action.
pages_unsubscribed_title = You are unsubscribed
pages_unsubscribed = No more news and offers will come.
pages_thanks = Thank you!
pages_answered = We have your answer. It counts unless you unsubscribed after our letter.
pages_confirmed = Your address is confirmed.

# A link that leads nowhere.
pages_expired_title = This link has expired
pages_expired = Its time is over. Write to us, and we will send a new one.
pages_unknown_title = There is no such link
pages_unknown = Please check that it was copied whole.
pages_too_many_title = Too many requests
pages_too_many = Please try again in a minute.
