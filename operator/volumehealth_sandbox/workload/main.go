// The one program in the containers of the real node: it leaves a file in each volume, then waits for its end.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	for _, volume := range os.Args[1:] {
		if err := os.WriteFile(filepath.Join(volume, "written-by-a-pod"), []byte("hello\n"), 0o600); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	<-ended
}
