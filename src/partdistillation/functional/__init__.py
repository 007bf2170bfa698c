"""The paper's arithmetic: pure functions of arrays, without files, settings or state."""
