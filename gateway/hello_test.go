package gateway

import (
	"testing"
	"testing/synctest"
	"time"

	"holdline/wordpress"
)

// While WordPress is silent, messages are taken, and wait for it elsewhere.
func TestSendsDoNotWaitForASilentWordPress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sends := companionSends(wordpress.NewCourier(wordpress.CourierOptions{})) // which does not run
		began := time.Now()
		for i := range 3 {
			if refused := sends(t.Context()); refused != nil {
				t.Errorf("message %d is refused: %v", i, refused)
			}
		}
		if took := time.Since(began); took != helloPatience {
			t.Errorf("three messages waited %v for WordPress, want %v in all", took, helloPatience)
		}
	})
}
