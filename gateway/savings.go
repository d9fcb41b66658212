package gateway

import "time"

// workerBytes is the memory that one more held polling loop takes of PHP: the
// private memory of its php-fpm worker. Measured with WP Live Chat Support 8.0.25
// on WordPress 6.1.9, PHP 8.2.36 with opcache and MariaDB 10.11, 0 to 50 loops
// held, private and proportional memory (PSS) agreeing in five of five runs: 3.9
// to 4.0 MB. A worker's resident size is ten times that, but nearly all of it is
// shared and would be there anyway.
const workerBytes = 3_900_000

// savings are what PHP need not do since loops are held here. It is never more
// than PHP would have spent: a loop's time counts only while it is held, and what
// PHP was asked for in its place is taken off.
type savings struct {
	Held          int     `json:"held"`
	HeldSeconds   float64 `json:"held_seconds"` // of all loops together, since the start
	PHPSeconds    float64 `json:"php_seconds"`  // in which PHP was asked for them
	WorkerSeconds float64 `json:"worker_seconds_saved"`
	PHPMemory     int64   `json:"php_memory_bytes"` // of workers that would be busy with them now
	Memory        int64   `json:"memory_bytes_saved"`
	WorkerBytes   int64   `json:"bytes_per_worker"`
}

// savingsOf counts with the whole of this process's memory, though it also holds
// others than loops.
func savingsOf(held int, heldFor, asked time.Duration, resident int64) savings {
	s := savings{
		Held: held, HeldSeconds: heldFor.Seconds(), PHPSeconds: asked.Seconds(),
		PHPMemory: int64(held) * workerBytes, WorkerBytes: workerBytes,
	}
	s.WorkerSeconds = max(0, s.HeldSeconds-s.PHPSeconds)
	s.Memory = max(0, s.PHPMemory-resident)
	return s
}
