package outbox
const childEnv = "HOLDLINE_OUTBOX_CHILD"
func runChild(string) int { return 0 }
