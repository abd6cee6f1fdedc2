package container
import ("testing";"context";"time";"path/filepath";"github.com/opencontainers/runc/libcontainer";"os";"hdjail/jail";"hdjail/jail/reexec")
func TestPhases(t *testing.T){
	r := newRunner(t)
	for i:=0;i<6;i++{
	c := hostConfig(t, r, "exit 0"); c.Args=[]string{"/bin/true"}
	t0:=time.Now()
	lap:=func(n string){ t.Logf("%-12s %v", n, time.Since(t0)); t0=time.Now() }
	root,_:=r.makeSkeleton(c); lap("skeleton")
	pinned,_:=pinSources(c.Mounts); lap("pin")
	p := &process{config: c, started: time.Now(), enforced: jail.Enforced{}}
	f,_:=r.filters(); lap("filters")
	p.openStreams()
	ids:=r.identity(c)
	p.plan,_=writePlan(stage2Plan{config: c, filters: f, sources: pinned.found, ids: ids}); lap("plan")
	config := containerConfig(c, root, ids, &p.enforced)
	config.RootlessEUID, config.RootlessCgroups = !r.root, !r.root
	config.Cgroups.Rootless = !r.root
	p.container,_ = libcontainer.Create(filepath.Join(c.Scratch.Dir, "state"), "jail", config); lap("create")
	p.init = &libcontainer.Process{
		Args: []string{"/proc/self/fd/3", reexec.Stage2Name}, Env: []string{"HOME=/"}, Cwd: "/", Init: true,
		Stdin: p.stdin, Stdout: p.stdout, Stderr: p.stderr, ExtraFiles: []*os.File{r.stage2, p.remote, p.plan},
		Rlimits: rlimits(c.Limits, &p.enforced),
	}
	if err:=p.container.Start(p.init);err!=nil{t.Fatal(err)}; lap("start")
	if err:=p.container.Exec();err!=nil{t.Fatal(err)}; lap("exec")
	p.closeChildEnds()
	res,err:=p.supervise(context.Background()); lap("supervise")
	_ = res
	if err!=nil {t.Fatal(err)}
	p.destroy(); lap("destroy")
	pinned.close()
	removeSkeleton(root); lap("rmskel")
	}
}
