"""SIP signalling as captures hold it: messages, how they are got out of files, and the call legs that they tell."""
