"""Durable state: what must outlive the process, committed before a message reveals it.

`base` is what a driver asks of a store, `memory` keeps rows as long as the process lives,
`sqlite` as long as the disk does; `database` is the file of the latter, `files` what platforms do
differently. `space` is one owner's rows in one namespace, `sealed` all rows of a client as one
blob. `ledger` keeps claims, which are never put back with rows; `tables` is its file.
"""
