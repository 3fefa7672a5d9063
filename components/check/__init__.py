"""The first step: are the parameters a competition, are its files there, and which bytes are
they?"""
