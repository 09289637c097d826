mod calls;
mod golden;
mod mutate;
mod recover;
mod refuse;
mod register;
mod session_timer;
mod torture;
