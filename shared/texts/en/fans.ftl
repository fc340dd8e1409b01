### Messages to fans that the config does not have to write: codes, and the end of letters.

# $code is the code, or its place in the config's text.
fans_code_sms = Code: { $code }. It was asked for in a chat. If that was not you, tell it to nobody.
fans_code_subject = Your code
fans_code_letter =
    Hello! Your code is { $code }. Type it in the chat within 15 minutes.

    If you did not ask for it, tell it to nobody.
fans_code_sent = We have sent a code of six digits. Write it here within 15 minutes.
fans_code_wrong = This is not the code. Please check it and write it once more.
fans_code_ended = This code counts no more. Write the number or the address again, and we shall send a new one.

# The link at the end of a letter.
fans_unsubscribe = Unsubscribe
