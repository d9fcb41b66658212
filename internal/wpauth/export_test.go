package wpauth

// FastHash lets the vectors of wp_fast_hash reach it.
func FastHash(message string) string { return fastHash(message) }
