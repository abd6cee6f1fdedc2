package integration

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// sweepCount is more numbers than any kernel has.
const sweepCount = 600

// expectedCall is a line of testdata/escape/calls.txt.
type expectedCall struct {
	name, answer string
	recorded     bool
}

// expectedCalls reads the table by ABI and number.
func expectedCalls(t *testing.T) map[string]map[int]expectedCall {
	t.Helper()
	file, err := os.Open("testdata/escape/calls.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	table := map[string]map[int]expectedCall{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		field := strings.Fields(lines.Text())
		if field[0] == "#" {
			continue
		}
		number, err := strconv.Atoi(field[1])
		if err != nil {
			t.Fatal(err)
		}
		if table[field[0]] == nil {
			table[field[0]] = map[int]expectedCall{}
		}
		table[field[0]][number] = expectedCall{name: field[2], answer: field[3], recorded: len(field) == 5}
	}
	return table
}

// TestSystemCallSweep makes every system call of each ABI in a jail and compares the answers, and what is on record of them,
// with the table. The host's table of calls is the kernel's; ours decides.
func TestSystemCallSweep(t *testing.T) {
	table := expectedCalls(t)
	rows := []struct {
		abi   string
		args  []string
		calls map[int]expectedCall
	}{
		{"native", []string{"--host", "coreutils"}, table["native"]},
		{"int80", []string{"--host", "coreutils"}, nil},
		{"x32", []string{"--host", "coreutils"}, nil},
		{"native", []string{"--mode", "log"}, table["native"]},
		{"int80", []string{"--mode", "log"}, table["i386"]},
		{"x32", []string{"--mode", "log"}, nil},
	}
	tools := openDir(t, "root")
	sweep := filepath.Join(tools, "sweep")
	if out, err := exec.Command("gcc", "-static", "-O1", "-o", sweep, "testdata/escape/sweep.c").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %s", out)
	}
	for _, user := range who {
		if as(t, user, "true") == nil {
			continue
		}
		dir := openDir(t, user)
		for _, row := range rows {
			t.Run(user+"/"+row.abi+row.args[1], func(t *testing.T) {
				audit := filepath.Join(dir, "audit.json")
				args := append([]string{hdjail, "--store", filepath.Join(dir, "store"), "run", "--ro", tools, "--audit", audit}, row.args...)
				command := as(t, user, append(args, "--", sweep, row.abi, strconv.Itoa(sweepCount))...)
				var messages bytes.Buffer
				command.Stderr = &messages
				out, err := command.Output()
				if err != nil {
					t.Fatalf("%v: %s", err, messages.String())
				}
				checkSweep(t, row.calls, answers(out))
				checkSweepRecord(t, row.calls, audit)
			})
		}
	}
}

func checkSweep(t *testing.T, calls map[int]expectedCall, got map[string]string) {
	t.Helper()
	for number := range sweepCount {
		answer, want := got[strconv.Itoa(number)], calls[number].answer
		switch want {
		case "":
			want = "ENOSYS"
		case "kernel":
			continue
		case "passes":
			if answer != "" && answer != "ENOSYS" {
				continue
			}
		}
		if answer != want {
			t.Errorf("call %d %s got %q, want %s", number, calls[number].name, answer, want)
		}
	}
}

// checkSweepRecord: what is refused by name is on record, and what looks unimplemented is not. Calls of ABIs that are not
// admitted are all on record.
func checkSweepRecord(t *testing.T, calls map[int]expectedCall, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var audit struct {
		Complete bool
		Accesses []struct {
			Verdict string
			Calls   []string
			Count   int
		}
	}
	if err := json.Unmarshal(text, &audit); err != nil {
		t.Fatal(err)
	}
	if !audit.Complete {
		t.Error("the record is incomplete")
	}
	var recorded []string
	count := 0
	for _, a := range audit.Accesses {
		if a.Verdict == "denied" {
			recorded = append(recorded, a.Calls...)
			count += a.Count
		}
	}
	if calls == nil {
		if count < sweepCount {
			t.Errorf("%d attempts are on record, and there were %d", count, sweepCount)
		}
		return
	}
	for number, call := range calls {
		if found := slices.Contains(recorded, call.name); found != call.recorded {
			t.Errorf("call %d %s is on record: %v, want %v", number, call.name, found, call.recorded)
		}
	}
}
