"""What the looking commands and the screens show; nothing here ever writes.

- What `lockgate status` is made of are named tuples: they are as frozen as dataclasses and take a
  tenth of the time to define, which is most of what a short command spends.
"""
