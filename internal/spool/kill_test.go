package spool

const childEnv = "HOLDLINE_SPOOL_CHILD"

func runChild(string) int { return 0 }
