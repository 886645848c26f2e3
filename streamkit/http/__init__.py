"""HTTP decisions, free of I/O and of the clock: headers in, a plan out (RFC 9110).

`dates`, `ranges` and `conditions` parse; `plan` decides; `byteranges` and `disposition` write.
"""
