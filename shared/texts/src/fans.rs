//! Messages to fans that the config does not have to write: codes, and the end of letters.

texts! { "fans":
    code_sms(code);
    code_subject();
    code_letter(code);
    code_sent();
    code_wrong();
    code_ended();
    unsubscribe();
}
