"""Chords as workers count them: in the result backend, or in a queue for each."""
