"""A warped face and the actor's remembered frames enter; the face with what warps lack leaves."""
