package wpauth

// FastHash lets the vectors of wp_fast_hash reach it.
func FastHash(message string) string { return fastHash(message) }

// Phpass lets a test see that a cost is refused, not only that nothing matches.
func Phpass(setting, plain string) string { return phpass(setting, plain) }
