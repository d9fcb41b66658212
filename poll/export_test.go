package poll

// Askers is how many loops are looked at side by side.
const Askers = askers
